# make search: set up and run the demo search.   make test: set up and run lint, types and tests.
# make test-rl: the tests of nni-nas-rl.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_DIR ?= runs/demo
PYTEST_WORKERS ?= 2
# One torch thread a process: two threads on a busy machine are many times slower.
export OMP_NUM_THREADS = 1

.PHONY: search test test-rl lint types tests format clean bench-operators bench-search bench-space bench-evaluator bench-cluster bench-nni bench-ablation bench-proposals bench-zero-cost bench-fidelity bench-demo bench-kills docs
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

# Needs tianshou, whose old pins must not reach the other tests: installed on top, in a place of its own.
test-rl: $(VENV)/rl/.installed
	$(VENV)/rl/bin/python -m pytest tests/strategies -k "rl and (contract or nni_nas_rl)"

$(VENV)/rl/.installed: $(VENV)/.installed-test
	$(BIN)/python -m venv $(VENV)/rl
	@below=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	own=$$($(VENV)/rl/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo "import site; site.addsitedir('$$below')" > $$own/below.pth
	$(VENV)/rl/bin/python -m pip install --disable-pip-version-check --quiet tianshou==0.4.11
	@touch $@

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is generated of the documents; tests hold them to it.
docs: $(VENV)/.installed-test
	$(BIN)/python docs/render_api.py
	$(BIN)/python docs/render_costs.py
	$(BIN)/python docs/render_figures.py

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
	$(BIN)/python -m convnas.benchmarks.search

# Three ways of training 40 networks each; fewer with: python -m convnas.benchmarks.evaluator --trials 5
bench-evaluator: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.evaluator

# A simulation of 10 and 1,000 workers on a PostgreSQL server of its own: half an hour and more for each thousand.
bench-cluster: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.cluster

# How soon a trial of NNI trains, beside a plain one: about two minutes.
bench-nni: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.nni_trials

# Where the difference from a DataLoader loop comes from: the loop is given ours, one thing after the other.
bench-ablation: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.ablation

bench-proposals: $(VENV)/.installed-test
	$(BIN)/python benchmarks/proposals.py

# Rankings, not timings: any machine will do.
bench-zero-cost: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.zero_cost

# Whether brief trainings rank as long ones do, on two spaces: a quarter of an hour.
bench-fidelity: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.fidelity

# The demo's seconds and memory, and its winner beside a vanilla network.
bench-demo: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.demo
	$(BIN)/python benchmarks/demo_winner.py

# kill -9 of every process of a run in every phase, a hundred times: an hour, any machine will do.
bench-kills: $(VENV)/.installed-test
	$(BIN)/python -m convnas.benchmarks.kills

# Do the tests fail when the code is wrong? An hour's sample of small changes, which are made to the files
# where they lie: in a checkout of its own. cosmic-ray is installed on top, in a place of its own.
mutation: $(VENV)/mutation/.installed
	$(VENV)/mutation/bin/python -m convnas.benchmarks.mutation

$(VENV)/mutation/.installed: $(VENV)/.installed-test
	$(BIN)/python -m venv $(VENV)/mutation
	@below=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	own=$$($(VENV)/mutation/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo "import site; site.addsitedir('$$below')" > $$own/below.pth
	$(VENV)/mutation/bin/python -m pip install --disable-pip-version-check --quiet 'cosmic-ray>=8.4'
	@touch $@
