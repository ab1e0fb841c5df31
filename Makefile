# Two commands do everything on a fresh machine with Python 3.11+, a C compiler and make:  make demo, make test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-ready
DEV := $(VENV)/.dev-ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO ?= demo-campaign

.PHONY: help demo test check slepc system bench docs lock clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bp_distributed needs Python 3.11 or newer; call make PYTHON=/path/to/it")'
	$(PYTHON) -m venv $(VENV)

# A new lock file, or a new pyproject.toml, installs again; otherwise the environment is reused.
$(RUNTIME): deploy/lock/runtime.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked runtime into $(VENV) (once; about a minute)"
	$(PIP) install --require-hashes -r deploy/lock/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): deploy/lock/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked test tools into $(VENV) (once; about a minute)"
	$(PIP) install --require-hashes -r deploy/lock/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUNTIME)

demo: $(RUNTIME)  ## a whole campaign on real physics, about 8 minutes on 2 cores, ends on a report
	$(BIN)/bpd demo $(DEMO)

slepc: $(RUNTIME)  ## PETSc and SLEPc for solves over MPI, built once per user in about 8 minutes
	$(BIN)/bpd slepc-build

test: $(DEV) check slepc system  ## lint, types and the whole test suite
	$(BIN)/python -m pytest

system:  ## on Debian as root: the packages that the tests use
	sh deploy/debian.sh

check: $(DEV)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(DEV)  ## benchmarks as ratios against a peer; ROWS="name name" picks
	$(BIN)/python -m benchmarks $(ROWS)

MODULES := $(subst /,.,$(patsubst %.py,%,$(wildcard bp_distributed/[a-z]*.py bp_distributed/*/[a-z]*.py)))
docs: $(DEV)  ## API reference and notebooks as HTML, command reference as Markdown, in build/docs
	$(BIN)/python -m pdoc --docformat numpy --output-directory build/docs $(MODULES)
	$(BIN)/python -m typer bp_distributed.cli utils docs --name bpd --output build/docs/bpd.md
	$(BIN)/python -m nbconvert --log-level WARN --to html --output-dir build/docs/notebooks notebooks/*.ipynb
	@echo "open build/docs/index.html"

lock:  ## write the lock files again from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q --extra physics --extra train --extra build \
	    pyproject.toml -o deploy/lock/runtime.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q --extra physics --extra train --extra build \
	    --group test --group docs pyproject.toml -o deploy/lock/dev.txt

clean:  ## remove the environment, caches and the demo campaign
	rm -rf $(VENV) $(DEMO) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
