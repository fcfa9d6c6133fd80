# make demo, explore, homework, family, feature_reuse, methods, results, test, bench, soak, wheel: each sets up .venv, once.
PYTHON ?= python3
VENV   ?= .venv
STAMP  := $(VENV)/.installed

.PHONY: install demo explore homework family feature_reuse methods results test bench soak lint wheel clean

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
	$(VENV)/bin/fewshot demo

explore: $(STAMP)  # PORT=5006
	$(VENV)/bin/fewshot explore --port $(or $(PORT),5006)

homework: $(STAMP)  # STEPS=500: outer steps of each training, in place of those of the configs
	$(VENV)/bin/fewshot homework $(if $(STEPS),--max_steps $(STEPS))

family: $(STAMP)  # STEPS=100: as above
	$(VENV)/bin/fewshot family $(if $(STEPS),--max_steps $(STEPS))
	$(VENV)/bin/python -m benchmarks.costs

feature_reuse: $(STAMP)  # STEPS=100: as above
	$(VENV)/bin/fewshot feature_reuse $(if $(STEPS),--max_steps $(STEPS))

methods: $(STAMP)  # STEPS=100: as above
	$(VENV)/bin/fewshot methods $(if $(STEPS),--max_steps $(STEPS))

results: $(STAMP)  # tests the checkpoints that come along; trains nothing
	$(VENV)/bin/fewshot results

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: lint
	$(VENV)/bin/python -m pytest

bench: $(STAMP)
	$(VENV)/bin/python -m pip install -e ".[bench]"
	$(VENV)/bin/python -m benchmarks $(BENCH)

soak: $(STAMP)  # MINUTES=60 SEED=1
	$(VENV)/bin/python -m benchmarks.soak --minutes $(or $(MINUTES),10) --seed $(or $(SEED),0)

wheel: $(STAMP)  # to dist/, with the configs and the trained checkpoints in it
	$(VENV)/bin/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV)
