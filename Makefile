# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each sets up .venv first, once; later runs install nothing until the pinned versions change.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=
# Processes that run tests: much of their time is the starting of commands.
WORKERS ?= 2

.PHONY: demo test test-long test-cluster lint install clean

demo: $(INSTALLED)
	@$(BIN)/python -m harness.loso $(ARGS)

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not long and not cluster"

# What each of them came to is kept: stopped and run again on the same code, it goes on where it was.
LONG := benchmarks/results/long_tests.jsonl
KEPT := KEPT_RESULTS=$(abspath $(LONG))
test-long: test
	$(KEPT) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "long and not cluster and not alone"
	$(KEPT) $(BIN)/python -m pytest -m "long and alone"
	$(KEPT) CLUSTER_TESTS=cluster CLUSTER_LIMIT_S=5400 tests/cluster/run.sh $(BIN)/python
	$(BIN)/python tests/kept_results.py $(LONG) benchmarks/results/faults.jsonl

# On three hosts, which are namespaces of this machine: `ray up`, a study from outside, `ray down`.
test-cluster: $(INSTALLED)
	tests/cluster/run.sh $(BIN)/python

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and 'Python 3.11 is needed: make PYTHON=/path/to/python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# librosa's kernels are compiled on their first use, for 20 seconds: here, not in the first run.
	$(BIN)/python -c "import librosa, numpy; librosa.feature.mfcc(y=numpy.zeros(22050, numpy.float32))"
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
