# Forebay's commands. `serve` and `test` set themselves up on a fresh machine with Python 3.11.
SHELL  := /bin/bash
PYTHON ?= python3.11
PORT   ?= 8080
TORCH  ?= torch==2.13.0
MODELS := smollm2-135m-instruct minilm-l6

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# A stamp is newer than the lock it was installed from, so a second call installs nothing.
RUNTIME := $(VENV)/.installed-runtime
DEV     := $(VENV)/.installed-dev
export PYTHONUNBUFFERED := 1

.PHONY: help serve test test-full check models build locks clean
.DEFAULT_GOAL := help

help:  ## show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')"

serve: $(RUNTIME) models  ## set up on first use, then run gateway and engine on 127.0.0.1:8080
	@exec $(BIN)/forebay serve --port $(PORT)

test: $(DEV) models  ## set up on first use, then run the tests (at most 12 minutes)
	@$(BIN)/python -m pytest -m "not long"

test-full: $(DEV) models  ## the long randomised and soak tests as well
	@$(BIN)/python -m pytest -m long

check: $(DEV)  ## lint, types, import rules, compose schema
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

models: $(RUNTIME)  ## download and verify the default models
	@for model in $(MODELS); do $(BIN)/forebay models pull $$model --quiet-if-present || exit 1; done

build: $(DEV)  ## build sdist and wheel (with compiled kernels) into dist/
	@$(BIN)/python -m build --no-isolation

locks:  ## resolve the dependencies again (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --override locks/without-torch.in --no-emit-package torch --extra engine --extra semantic \
	  pyproject.toml locks/torch-needs.in locks/build.in -o locks/runtime.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --override locks/without-torch.in --no-emit-package torch --extra engine --extra semantic --group dev -c locks/runtime.txt \
	  pyproject.toml locks/torch-needs.in locks/build.in -o locks/dev.txt

clean:  ## remove the environment and build output (models and caches stay)
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Forebay needs Python 3.11: '$(PYTHON)' was not found (set PYTHON=...)." >&2; exit 1; }
	@echo "==> making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): locks/runtime.txt pyproject.toml | $(BIN)/python
	@echo "==> installing locked dependencies"
	@$(PIP) install -q --no-deps --require-hashes -r locks/runtime.txt
	@echo "==> installing $(TORCH)"
	@$(PIP) install -q "$(TORCH)"
	@$(PIP) install -q --no-deps --no-build-isolation --editable .
	@echo "==> compiling the engine's kernels for this machine"
	-@$(BIN)/python -m backend_engine.native.build >/dev/null
	@touch $@

$(DEV): locks/dev.txt $(RUNTIME)
	@echo "==> installing locked development dependencies"
	@$(PIP) install -q --no-deps --require-hashes -r locks/dev.txt
	@touch $@
