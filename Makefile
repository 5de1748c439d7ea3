# `make demo` and `make test` set everything up by themselves; both also work when the environment exists.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
DEMO ?= animals
WORKERS ?= 2

.PHONY: demo test test-slow test-all check docs bench bench-demo reference clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "i2i needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]" -c constraints.txt
	@touch $(READY)

# Trains on the embedded data set, translates held-out images, says where to look. DEMO: animals, maps or streets.
demo: $(READY)
	$(BIN)/python tools/demo.py $(DEMO)

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

test-all: test test-slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site of docs/, in site/.
docs: $(READY)
	$(BIN)/python -m pip install --quiet -e ".[docs]" -c constraints.txt
	$(BIN)/zensical build --strict

# The figures of docs/performance.md, in bench.json and bench.md. UPSTREAM: a checkout of the original, to compare with.
bench: $(READY)
	$(BIN)/python benchmarks/all.py --json bench.json --markdown bench.md $(if $(UPSTREAM),--upstream $(UPSTREAM))

# How good the demo's translations are, over seeds.
bench-demo: $(READY)
	$(BIN)/python benchmarks/demo.py $(DEMO)

# What the docs and editors know of the components, from the registries.
reference: $(READY)
	$(BIN)/python tools/components.py --markdown --no-plugins --out docs/reference.md
	$(BIN)/python tools/schema.py --no-plugins --out docs/config.schema.json

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
