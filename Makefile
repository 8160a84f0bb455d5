# make search: set up and run the demo search.   make test: set up and run lint, types and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_DIR ?= runs/demo
PYTEST_WORKERS ?= 2
# One torch thread a process: two threads on a busy machine are many times slower.
export OMP_NUM_THREADS = 1

.PHONY: search test lint types tests format clean bench-operators bench-search bench-space bench-evaluator
search: $(VENV)/.installed
	$(BIN)/convnas launch -o $(RUN_DIR)

test: lint types tests

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	@# mypy cannot follow an editable install whose package is the repository's root; it follows this link.
	@mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/convnas
	$(BIN)/mypy

tests: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[test]'
	@touch $(VENV)/.installed $@

# Best on a machine with nothing else to do: the load average is kept with the results.
bench-operators: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.operators

clean:
	rm -rf build *.egg-info .*_cache .hypothesis

bench-space: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.space

bench-search: $(VENV)/.installed-test
	$(BIN)/python benchmarks/search.py

# Three ways of training 40 networks each; fewer with: python -m convnas.benchmarks.evaluator --trials 5
bench-evaluator: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.evaluator
