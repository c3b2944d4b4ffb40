# Each target works alone on a fresh clone: scripts/setup makes .venv once and installs what is needed.
# PYTHON=/path/to/python chooses the interpreter, JOBS=4 the number of test processes.

export PYTHON JOBS ARGS

PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help test docs tables demo cluster-demo bench bench-table soak clean animation pages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

test: ## style, types, import contract and tests (ARGS=tests/spec for those of one package)
	@scripts/setup dev
	@scripts/debian-packages
	@scripts/check

docs: ## the documentation as HTML in build/docs; a warning is an error
	@scripts/setup docs
	@$(PY) -m sphinx -q -W --keep-going -n -d build/doctrees docs build/docs
	@echo "docs: build/docs/index.html"

tables: ## write the table of commands for completion, and those in the pages "Coming from …"
	@scripts/setup dev
	@$(PY) scripts/completion_table.py
	@$(PY) scripts/command_tables.py

pages: ## type the commands of README, tutorials and examples, and write what they print (ARGS="-k console")
	@scripts/setup dev
	@$(PY) -m pytest -q --write tests/docs tests/web/test_console_tutorial.py $(ARGS)

animation: ## draw the picture at the top of README from the commands that it shows
	@scripts/setup dev
	@$(PY) scripts/animation.py

demo: ## a sweep on handwritten digits that fails, is mended and is rerun
	@scripts/setup demo
	@$(PY) demo/run.py

cluster-demo: ## the same sweep on a Slurm and a PostgreSQL that it starts and stops
	@scripts/setup demo,postgres
	@scripts/debian-packages
	@$(PY) demo/cluster.py

bench: ## what it costs, beside xargs and others (ROW="commands calls", ARGS=--quick, PEERS=1 for other systems, PEERS="dvc snakemake" for some)
	@scripts/setup dev
	@[ -z "$(PEERS)" ] || scripts/peers $(filter-out 1,$(PEERS))
	@$(PY) -m benchmarks $(ROW) $(if $(PEERS),--peers) $(ARGS)

bench-table: ## publish the newest complete results of `make bench`, and write the page of measurements
	@scripts/setup dev
	@$(PY) -m benchmarks --table

soak: ## the long tests that `make test` leaves out (ARGS="-k everything" for some of them)
	@scripts/setup dev
	@scripts/setup demo
	@scripts/debian-packages
	@scripts/soak

clean: ## remove .venv, caches and builds
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
