# Each target works alone on a fresh clone: scripts/setup makes .venv once and installs what is needed.
# PYTHON=/path/to/python chooses the interpreter, JOBS=4 the number of test processes.

export PYTHON JOBS ARGS

PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help test tables demo bench soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

test: ## style, types, import contract and tests
	@scripts/setup dev
	@scripts/debian-packages
	@scripts/check

tables: ## write the tables of commands into the pages "Coming from …"
	@scripts/setup dev
	@$(PY) scripts/command_tables.py

demo: ## a sweep on handwritten digits that fails, is mended and is rerun
	@scripts/setup demo
	@$(PY) demo/run.py

bench: ## what it costs, beside xargs and a process pool (ARGS="--quick" for a short look)
	@scripts/setup dev
	@$(PY) -m benchmarks $(ARGS)

soak: ## the long tests that `make test` leaves out (ARGS="-k everything" for some of them)
	@scripts/setup dev
	@scripts/debian-packages
	@scripts/soak

clean: ## remove .venv, caches and builds
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
