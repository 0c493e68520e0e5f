# One project, one list of verbs: people and CI run the same ones.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := requirements/installer.txt requirements/all.txt
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo up down status audit bench measure assign ofrep ramp laws simulate test unit coverage lint types architecture check schemas lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

install: $(STAMP) ## create .venv and install the locked packages

$(STAMP): libs/client/pyproject.toml $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Trimtab needs Python 3.11 or later; $(PYTHON) is older. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	@echo "Installing into $(VENV) (about 1.2 GB; one to three minutes the first time) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/all.txt requirements/installer.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e libs/client
	@touch $(STAMP)

demo: install ## start everything, replay traffic, watch the loop close (ARGS=--once to exit afterwards)
	@$(BIN)/python -m deploy.local demo $(ARGS)

up: install ## start the embedded stack and all services in the background
	@$(BIN)/python -m deploy.local up $(ARGS)

down: install ## stop what `make up` started
	@$(BIN)/python -m deploy.local down $(ARGS)

status: install ## what runs, where, with how much memory
	@$(BIN)/python -m deploy.local status $(ARGS)

audit: install ## recompute an experiment from the log and compare (ARGS=experiment-id)
	@$(BIN)/python -m deploy.command audit $(ARGS)

bench: install ## ingest beside its peers on one core each, with the limit and an exact reference (ARGS="--scale 0.1")
	@$(BIN)/python -m benchmarks.run $(ARGS)

measure: install ## memory, restart, pauses, latency, poison, workers (ARGS="--only memory --scale 0.1")
	@$(BIN)/python -m benchmarks.measure $(ARGS)

assign: install ## local assignment beside GrowthBook's and OpenFeature's in-memory evaluation
	@$(BIN)/python -m benchmarks.assign $(ARGS)

ofrep: install ## remote evaluation with its exposure acknowledged, beside a bare endpoint (ARGS="--seconds 5")
	@$(BIN)/python -m benchmarks.ofrep $(ARGS)

ramp: install ## a ramp from 10 to 100 % under load: nobody moves (ARGS="--minutes 1")
	@$(BIN)/python -m benchmarks.ramp $(ARGS)

laws: install ## the laws of exact streaming, with the examples tried
	@$(BIN)/python -m benchmarks.laws $(ARGS)

simulate: install ## the statistics' claims by simulation, written to docs/reference/claims.md (ARGS=--quick)
	@$(BIN)/python -m benchmarks.simulate $(ARGS)

# Two at a time: what computes beside what waits for Kafka and PostgreSQL. With ARGS: those tests alone.
PURE := tests/unit tests/architecture tests/simulation

test: install ## every test: unit, contract, architecture, integration on a real Kafka and PostgreSQL
	@$(BIN)/coverage erase
ifeq ($(strip $(ARGS)),)
	@mkdir -p .trimtab; echo "Pure tests run beside the others; what they say comes last."; \
	$(BIN)/coverage run -m pytest $(PURE) > .trimtab/pure-tests.log 2>&1 & pure=$$!; \
	trap 'kill $$pure' INT TERM; \
	$(BIN)/coverage run -m pytest $(PURE:%=--ignore=%); others=$$?; \
	wait $$pure; pure=$$?; cat .trimtab/pure-tests.log; \
	test $$others -eq 0 -a $$pure -eq 0
else
	@$(BIN)/coverage run -m pytest $(ARGS)
endif
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered --format=total | sed 's/^/coverage of the whole, per cent: /'

unit: install ## the tests without any I/O, and the architecture rules: about a minute
	@$(BIN)/python -m pytest tests/unit tests/architecture $(ARGS)

coverage: ## the table of the last `make test`
	@$(BIN)/coverage report

lint: install ## ruff: style and defects
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install ## mypy --strict
	@$(BIN)/mypy

architecture: install ## who may import whom
	@$(BIN)/lint-imports

check: lint types architecture ## all that reads the code without running it

schemas: install ## write schemas/json and schemas/asyncapi.json from the models
	@$(BIN)/python -m schemas.generate

lock: install ## pin the packages again, with hashes
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links --all-extras pyproject.toml -o requirements/all.txt
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links requirements/bench.in -o requirements/bench.txt
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links requirements/oracles.in -o requirements/oracles.txt
	@echo uv | $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links - -o requirements/installer.txt

clean: down ## remove what the stack kept, and the environment
	@rm -rf .trimtab $(VENV) build dist *.egg-info
