# Everything a person types first. Needs make and Python 3.11, 3.12 or 3.13; the rest is set up here.

SHELL := /bin/bash
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export DAGSTER_HOME := $(ROOT)
export HRP_HOME ?= $(ROOT)/.hrp
export HRP_DAGSTER_STATE := $(abspath $(HRP_HOME))/dagster
export DAGSTER_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export STREAMLIT_BROWSER_GATHER_USAGE_STATS := false
export IMPORT_LINTER_CACHE_DIR := $(VENV)/.import_linter_cache

# A file of tests shares what it sets up; the longest files start first (tests/conftest.py).
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test test-ib-async test-fast browse faults lint format types definitions bench lock sample clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Build .venv from the lock file.

$(STAMP): requirements.lock pyproject.toml
	@python="$$($(ROOT)/scripts/find-python)" || exit 1; \
	echo "Setting up .venv with $$python (once, about a minute)"; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable $(ROOT)
	@grep -q HRP_DAGSTER_STATE $(BIN)/activate || printf '\n%s\n%s\n' 'export DAGSTER_HOME="$(ROOT)"' \
		'export HRP_DAGSTER_STATE="$${HRP_HOME:-$(ROOT)/.hrp}/dagster"' >> $(BIN)/activate
	@touch $@

demo: $(STAMP) ## Run ten sessions on real prices through the simulated gateway.
	@$(BIN)/hrp demo $(ARGS)

dev: $(STAMP) ## Start the simulated gateway and the Dagster UI on 127.0.0.1.
	@exec $(BIN)/hrp dev $(ARGS)

test: lint types definitions ## Run every gate and the whole test suite.
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-ib-async: $(STAMP) ## Run the whole test suite on ib_async instead of ib_insync.
	@HRP_TEST_IB_LIBRARY=ib_async $(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-fast: $(STAMP) ## Run the tests that start no Dagster process.
	@$(BIN)/python -m pytest $(WORKERS) -m "not slow" $(ARGS)

bench: $(STAMP) ## Measure what is claimed about speed and memory.
	@$(BIN)/python -m benchmarks $(ARGS)

browse: $(STAMP) ## Click through the web UI with headless Chromium; renews docs/images.
	@$(BIN)/python scripts/browse.py $(ARGS)

faults: $(STAMP) ## Kill the order sender a thousand times (N=...) and judge the account.
	@PYTHONPATH="$(ROOT)/tests/faults" $(BIN)/python tests/faults/crash_matrix.py --workers 3 \
		--schedules $(or $(N),1000) $(ARGS)

lint: $(STAMP) ## ruff, formatting, import contracts.
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --no-cache --check .
	@$(BIN)/lint-imports --no-cache

types: $(STAMP) ## pyright.
	@$(BIN)/pyright

definitions: $(STAMP) ## Check that Dagster can load the definitions.
	@mkdir -p "$(HRP_DAGSTER_STATE)"
	@cd $(ROOT) && $(BIN)/dagster definitions validate --log-level warning -w workspace.yaml

format: $(STAMP) ## Format the code.
	@$(BIN)/ruff check --no-cache --fix . ; $(BIN)/ruff format --no-cache .

lock: $(STAMP) ## Resolve pyproject.toml into requirements.lock again.
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras pyproject.toml \
		-o requirements.lock --no-header --no-annotate --no-emit-index-url --upgrade

sample: $(STAMP) ## Build the shipped sample prices again.
	@$(BIN)/python scripts/build_sample.py

clean: ## Remove the virtual environment and all state.
	@rm -rf $(VENV) $(ROOT)/.hrp
