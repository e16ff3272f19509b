# Everything from a bare checkout: python3 (>= 3.11) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# Tests compile much and run little: neither LLVM's optimizations nor XLA's fusion emitters pay
# there. Before a release: make test XLA_FLAGS=, which compiles as users do.
test test-fast peers: export XLA_FLAGS ?= --xla_backend_optimization_level=0 \
  --xla_cpu_use_fusion_emitters=false

.PHONY: front test test-fast peers lint format types bench bench-smoke notebooks clean

front: $(VENV)/.front
	$(BIN)/paretax front multi_mnist

test: $(VENV)/.all
	$(BIN)/python -m pytest -n 2

test-fast: $(VENV)/.all
	$(BIN)/python -m pytest -n 2 -m "not slow"

peers: $(VENV)/.bench
	$(BIN)/python -m pytest tests/peers

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

types: $(VENV)/.all
	$(BIN)/basedpyright

format: $(VENV)/.all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.all
	$(BIN)/python benchmarks/nash_vs_cvxpy.py

# Methods compared on tiny subsets: does it all work?
bench-smoke: $(VENV)/.all
	rm -rf runs/bench-smoke
	$(BIN)/paretax bench benchmarks/smoke.toml --out runs/bench-smoke --jobs 2

notebooks: $(VENV)/.all
	$(BIN)/python -m pytest tests/test_notebooks.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.front: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[data,viz]'
	touch $@

$(VENV)/.all: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]'
	touch $@ $(VENV)/.front

# Beside TorchJD. The package itself stays editable.
$(VENV)/.bench: pyproject.toml $(VENV)/.all
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[bench]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
