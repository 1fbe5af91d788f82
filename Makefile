# The developer's whole interface. Bare `make` tells what there is.

FOLDER ?= notebooks
PORT ?=
ARGS ?=
KILLS ?= 100
# Half of what a test does is waiting, so two cores have room for three of them
JOBS ?= 3
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

VENV := .venv
BIN := $(VENV)/bin
LAB := $(VENV)/.lab
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help serve test check bench soak programs clean
.NOTPARALLEL:

help: ## This list
	@echo "make serve FOLDER=~/notebooks starts evstore with JupyterLab; everything else is for its developers."
	@echo
	@awk -F ':[^#]*## ' '/^[a-z]+:[^#]*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

serve: $(LAB) ## Start evstore with JupyterLab on FOLDER (PORT=, ARGS='--no-browser')
	@mkdir -p "$(FOLDER)"
	@exec $(BIN)/evstore serve "$(FOLDER)" $(if $(PORT),--port $(PORT)) $(ARGS)

# In the order of the folders: the small files come last, so all workers end at about the same time
test: $(DEV) programs ## Run all tests, JOBS files at a time (ARGS='-k name')
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(DEV) ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(DEV) ## Measure against jupyter_server, on this machine and in one run
	$(BIN)/python -m bench $(ARGS)

soak: $(DEV) ## Long runs: kill -9 under load KILLS times, thousands of random histories and requests
	EVSTORE_KILLS=$(KILLS) $(BIN)/python -m pytest -s --timeout=0 tests/process/test_crash.py tests/process/test_folder_crash.py
	EVSTORE_MODEL_EXAMPLES=1000 $(BIN)/python -m pytest --timeout=0 tests/http/test_model.py
	EVSTORE_GIT_EXAMPLES=500 $(BIN)/python -m pytest --timeout=0 tests/contract/test_git_export.py tests/contract/test_git_round_trip.py
	EVSTORE_FOLDER_EXAMPLES=1000 $(BIN)/python -m pytest --timeout=0 tests/folder/test_model.py
	EVSTORE_SPEC_EXAMPLES=300 $(BIN)/python -m pytest --timeout=0 tests/spec

clean: ## Remove the environment and everything that was made
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The browser tests need chromium; jupyter_server's tests of conversions are passed over without pandoc.
programs:
	@if [ -x /usr/bin/chromium ] && command -v pandoc >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing chromium and pandoc for the tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium pandoc >/dev/null; \
	else \
		echo "chromium or pandoc is missing: the browser tests fail until they are installed (Debian: apt-get install chromium pandoc)."; \
	fi

# A stamp for each set of packages: made once, and again when pyproject.toml changes.
$(LAB): pyproject.toml | $(BIN)/pip
	@echo "Installing evstore, JupyterLab and Notebook into $(VENV): this takes a minute or two, and is done once."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[lab]"
	@touch $@

$(DEV): pyproject.toml | $(BIN)/pip
	@echo "Installing evstore and what its tests need into $(VENV): this takes some minutes, and is done once."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@$(BIN)/python -m bash_kernel.install --sys-prefix >/dev/null  # a second language, for the tests
	@touch $@ $(LAB)

$(BIN)/pip:
	@if [ -z "$(PYTHON)" ]; then echo "evstore needs Python 3.11 or newer, and there is none here."; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python can't make an environment (Debian: apt-get install python3-venv)."; exit 1; }
