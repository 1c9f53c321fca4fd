# Crossdock. Every target says the real commands; `make` alone lists the targets.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test check unit acceptance bench docs fault fuzz system clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.complete  ## .venv with all that development needs, pinned by constraints.txt

.venv/.complete: pyproject.toml constraints.txt scripts/setup.sh
	scripts/setup.sh $(PYTHON)
	touch $@

demo: setup  ## a tour with real clients and a kill -9; stays up until Ctrl-C (ARGS=--exit: ends after the tour)
	$(BIN)/python scripts/demo.py $(ARGS)

test: setup system check unit acceptance  ## everything below; installs the system packages that tests need

system:
	scripts/system_packages.sh

check: setup  ## lint, types, layers, sizes, generated pages: no tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_layout.py
	$(BIN)/python scripts/generate_reference.py --check
	$(BIN)/cog --check README.md ARCHITECTURE.md docs/concepts/*.md

unit: setup  ## tests of the parts, and every page of the documentation
	$(PYTEST) -n auto -q -m "not acceptance and not fault and not browser" $(ARGS)

acceptance: setup  ## tests with real processes, a real browser and real kills
	$(PYTEST) -q -m "acceptance or fault or browser" $(ARGS)

bench: setup  ## throughput, latency, depth and memory beside named peers
	$(BIN)/python -m bench $(ARGS)

docs: setup  ## write the generated pages and parts of pages again
	$(BIN)/python scripts/generate_reference.py
	$(BIN)/cog -r README.md ARCHITECTURE.md docs/concepts/*.md

fault: setup  ## the long form of the kills, full disks and failing writes
	CROSSDOCK_FAULT_ROUNDS=2000 $(PYTEST) -q -m fault --timeout 7200 $(ARGS)

fuzz: setup  ## the long form of the property tests
	CROSSDOCK_SIMULATION_SEEDS=100000 CROSSDOCK_SIMULATION_SECONDS=5000 \
	$(PYTEST) -n auto -q -m "not acceptance and not fault" --hypothesis-profile night --timeout 7200 $(ARGS)

clean:  ## remove what the targets above made
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache data/demo
