# Everything happens in .venv, which the first target that needs it makes.
PYTHON := $(or $(shell command -v python3.11),$(shell command -v python3))
BIN := .venv/bin
READY := .venv/.ready
TESTS_READY := .venv/.ready-for-tests
DOCS_READY := .venv/.ready-for-docs
# Two test processes with one thread each: BLAS and torch threads on the same cores would wait for one another. Each
# takes neighbouring tests, which share what they set up, and the one that ends first takes over some of the other's.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help demo test lint types docs suites results architectures bench dist clean

help: ## Say what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Audit a trained network on real images and write demo/index.html
	$(BIN)/blindspace demo --out demo

test: $(TESTS_READY) lint types ## Lint, types and tests
	$(PYTEST)

lint: $(TESTS_READY) ## Check style
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests

types: $(TESTS_READY) ## Check types
	$(BIN)/mypy

docs: $(DOCS_READY) ## Build the documentation as a site, in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

suites: $(TESTS_READY) ## Run the test suites of torch and ONNX, and mutated files; write docs/suites.md and docs/fuzz.md
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/suites/whole.py
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/suites/fuzz.py

results: $(TESTS_READY) ## Reproduce every table and figure on CIFAR-10 and MNIST; hours, and can be interrupted
	$(BIN)/blindspace data get cifar10
	$(BIN)/blindspace data get mnist
	$(BIN)/blindspace reproduce all --preset cpu --out results

architectures: $(TESTS_READY) ## Audit the architectures of timm, transformers and torchvision; an hour, and can be interrupted
	OMP_NUM_THREADS=1 $(BIN)/python tests/suites/architectures.py

bench: $(READY) ## Measure what a projection costs, as a ratio to the least it could
	$(BIN)/blindspace bench --json results/bench/result.json --picture results/bench/cost.png
	$(BIN)/blindspace bench --tangents --json results/bench/tangents.json
	$(BIN)/blindspace bench --learning --json results/bench/learning.json
	$(BIN)/blindspace bench --directions --json results/bench/directions.json
	OMP_NUM_THREADS=1 $(BIN)/blindspace bench --protect --json results/bench/protect.json

dist: $(READY) ## Build the wheel and the sdist in dist/
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --outdir dist

clean: ## Remove the environment and what the tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis build dist demo site

# torch goes first and pinned: a later step that asks for any torch then finds this one.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "the venv module is needed: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[plot,report]'
	@touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $(DOCS_READY)

# The tests need every library that is optional, half a gigabyte more, and a browser for the pages.
$(TESTS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[plot,report,dev]'
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && { apt-get install -y -q chromium || \
		{ apt-get update -q && apt-get install -y -q chromium; }; } >/dev/null 2>&1; } || \
		echo "The tests of pages in a browser are skipped, for want of one: apt-get install chromium"
	@touch $(TESTS_READY)
