# make demo   cloak the sample photos and show what it did
# make test   run the tests
# make check  format, lint, types, tests: what a change must pass
# make fuzz   20,000 damaged photos through the whole way of a file
# make bench  the benchmark, PROTOCOL=smoke (a minute), dev (an hour) or full
# Each sets up .venv first and reuses it while pyproject.toml is unchanged.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
TEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 2 --dist loadfile

.PHONY: demo test test-slow check fuzz bench format setup setup-dev clean

demo: setup
	$(BIN)/cloak protect samples --mode high --out demo --overwrite --picture demo/before_after.png

test: setup-dev
	$(TEST)

test-slow: setup-dev
	$(BIN)/python -m pytest -m slow

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TEST)

FILES ?= 20000

fuzz: setup-dev
	$(BIN)/python -m tests.fuzz --files $(FILES)

PROTOCOL ?= smoke

bench: setup-dev
	$(BIN)/cloak bench benchmarks/protocols/$(PROTOCOL).toml --resume

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup:
	@$(MAKE) --no-print-directory install EXTRA= STAMP=$(VENV)/installed.toml

setup-dev:
	@$(MAKE) --no-print-directory install EXTRA=[dev] STAMP=$(VENV)/installed-dev.toml

.PHONY: install
install:
	@cmp -s pyproject.toml $(STAMP) || { \
	  echo "setting up $(VENV) (PyTorch is large: some minutes the first time)"; \
	  $(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	    || { echo "expected Python 3.10 to 3.13, got `$(PYTHON) --version`; pass PYTHON=python3.12"; exit 1; }; \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRA)' && \
	  cp pyproject.toml $(STAMP); }

clean:
	rm -rf $(VENV) demo bench .cache
