# make demo, explore, homework, family, feature_reuse, methods, results, test, docs, bench, gpu, race, soak, wheel:
# each sets up .venv, once.
PYTHON ?= python3
VENV   ?= .venv
STAMP  := $(VENV)/.installed

.PHONY: install demo explore homework family feature_reuse methods recipes results test docs bench gpu race soak lint wheel clean

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

recipes: $(STAMP)  # STEPS=20: as above
	$(VENV)/bin/fewshot recipes $(if $(STEPS),--max_steps $(STEPS))

results: $(STAMP)  # tests the checkpoints that come along and writes their tables; trains nothing
	$(VENV)/bin/fewshot results --repository .

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: lint
	$(VENV)/bin/python -m pytest

# The site is built from links to the pages at their places in the repository: mkdocs reads no folder above its own.
PAGES := README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff LICENSE docs checkpoints/README.md benchmarks/README.md \
	notebooks/quickstart.ipynb notebooks/own_images.ipynb

docs: $(STAMP)  # to build/site; its search works where the folder is served: python -m http.server -d build/site
	$(VENV)/bin/python -m pip install -e ".[docs]"
	mkdir -p $(sort $(dir $(PAGES:%=build/pages/%)))
	for page in $(PAGES); do ln -sfn $(CURDIR)/$$page build/pages/$$page; done
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: $(STAMP)
	$(VENV)/bin/python -m pip install -e ".[bench]"
	$(VENV)/bin/python -m benchmarks $(BENCH)

gpu: $(STAMP)  # what needs a GPU: the tests, then times and memory
	$(VENV)/bin/python -m pytest -m gpu -n 0
	$(VENV)/bin/python -m benchmarks --device cuda --out benchmarks/results/gpu --rounds 3 \
		--engines "[recorded,bf16,vectorized,learn2learn,floor]" --tasks "[32]" --steps "[1]" $(BENCH)

race: $(STAMP)  # RACE="--contestants [fewshot-maml-short]": python -m benchmarks.race --help
	$(VENV)/bin/python -m benchmarks.race $(RACE)

soak: $(STAMP)  # MINUTES=60 SEED=1
	$(VENV)/bin/python -m benchmarks.soak --minutes $(or $(MINUTES),10) --seed $(or $(SEED),0)

wheel: $(STAMP)  # to dist/, with the configs and the trained checkpoints in it
	$(VENV)/bin/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV)
