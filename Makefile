# make demo, make homework, make family, make test, make bench: each sets up .venv by itself, once.
PYTHON ?= python3
VENV   ?= .venv
STAMP  := $(VENV)/.installed

.PHONY: install demo homework family test bench lint clean

install: $(STAMP)

# learn2learn 0.2.0 comes as a source archive whose C files have to be made afresh from Cython (build_ext), and
# names requirements that its import never touches (--no-deps; what it does import is listed in setup.cfg).
$(STAMP): setup.cfg pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --upgrade pip
	$(VENV)/bin/python -m pip install -e ".[test]"
	$(VENV)/bin/python -m pip install --no-deps --use-pep517 \
		--config-settings=--build-option=build_ext learn2learn==0.2.0
	touch $@

demo: $(STAMP)
	$(VENV)/bin/python -m fewshot.demo

homework: $(STAMP)  # STEPS=500: outer steps of each training, in place of those of the configs
	$(VENV)/bin/python -m fewshot.homework $(if $(STEPS),--max_steps $(STEPS))

family: $(STAMP)  # STEPS=100: as above
	$(VENV)/bin/python -m fewshot.family $(if $(STEPS),--max_steps $(STEPS))
	$(VENV)/bin/python -m benchmarks.family

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: lint
	$(VENV)/bin/python -m pytest

bench: $(STAMP)
	$(VENV)/bin/python -m pip install -e ".[bench]"
	$(VENV)/bin/python -m benchmarks $(BENCH)

clean:
	rm -rf $(VENV)
