# The commands of the project; `make` lists them. Variables: DATA, OUT, SPLIT (test or train), BUDGET (seconds),
# LAYOUT (new or flat), OWNER (of the dataset and notebook on Kaggle).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

HOST_PYTHON ?= python3
OUT ?= out
STUDIES ?= 3
PRESET ?= small
SEED ?= 8

PYTHON := .venv/bin/python
DATASET := dist/kaggle-dataset
ENVIRONMENT := build/environment
SOURCES := $(shell find lumbar_kernel weights -type f -not -path '*/__pycache__/*') pyproject.toml build_wheel.py LICENSE README.md
LUMBAR = $(PYTHON) -m benchmarks.kaggle.offline run $(ENVIRONMENT)/bin/lumbar-kernel

.PHONY: help submission phantom check test wheel kaggle replay train docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

# Exit code 3 means a valid submission with something missing, which the summary names: not a failure of make.
submission: $(ENVIRONMENT)/.stamp $(if $(DATA),,demo) ## grade DATA (or phantoms in demo/) from the wheel, without a network
	$(LUMBAR) predict "$(or $(DATA),demo)" --out "$(OUT)" --html --pictures 3 $(if $(SPLIT),--split $(SPLIT)) $(if $(BUDGET),--seconds $(BUDGET)) || test $$? -eq 3

phantom: demo ## generate STUDIES phantom studies (seed SEED) in demo/

check: .venv/.stamp ## lint, formatting, types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

test: .venv/.stamp ## all tests
	$(PYTHON) -m pytest --numprocesses 2 --dist worksteal

wheel: .venv/.stamp ## build the wheel and verify it in a separate environment
	$(PYTHON) build_wheel.py

kaggle: .venv/.stamp ## build and verify the dataset and notebook that OWNER uploads
	@test -n "$(OWNER)" || { echo "name your Kaggle user: make kaggle OWNER=jane"; exit 2; }
	$(PYTHON) build_wheel.py --owner "$(OWNER)"

replay: $(DATASET)/SHA256SUMS ## run the notebook on DATA (or phantoms) as Kaggle does
	$(PYTHON) -m benchmarks.kaggle.replay $(if $(DATA),--data "$(DATA)") $(if $(LAYOUT),--layout $(LAYOUT))

train: .venv/.stamp ## train PRESET (smoke, small, strong) on PACKS, COMPETITION or phantoms, see docs/training.md
	$(PYTHON) -m training.recipe --preset $(PRESET) $(if $(PACKS),--packs "$(PACKS)") $(if $(COMPETITION),--competition "$(COMPETITION)") $(if $(FOLDS),--folds "$(FOLDS)") $(TRAIN_OPTIONS)

docs: .venv/.stamp ## build the pages of docs/ as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

bench: .venv/.stamp ## time whole runs beside a plain loop, see docs/speed.md
	$(PYTHON) -m benchmarks.bench $(if $(BENCH_STUDIES),--studies $(BENCH_STUDIES))

clean: ## remove build/, dist/, demo/ and the results in out/; keep .venv, cache*/ and runs*/
	rm -rf build dist out demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find lumbar_kernel tests training benchmarks evaluation -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: pyproject.toml
	test -x $(PYTHON) || $(HOST_PYTHON) -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(DATASET)/SHA256SUMS: $(SOURCES) kernel-metadata.json | .venv/.stamp
	$(PYTHON) build_wheel.py --skip-proof

$(ENVIRONMENT)/.stamp: $(DATASET)/SHA256SUMS .venv/.stamp
	$(PYTHON) -m benchmarks.kaggle.offline install $(ENVIRONMENT) $(DATASET)/*.whl
	touch $@

# Written to build/ and then moved, so that an interrupted run leaves no partial dataset.
demo: | $(ENVIRONMENT)/.stamp
	rm -rf build/demo
	$(LUMBAR) phantom build/demo --studies $(STUDIES) --seed $(SEED) --split test
	mv build/demo demo
