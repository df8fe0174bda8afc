# Everything happens in .venv; each target sets up what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# what is installed; on a machine with a GPU, EXTRAS=gpu,dev is an alternative, in a VENV of its own
EXTRAS ?= cpu,train,dev
DEMO ?=
GPU_TESTS := tests/unit/test_device.py tests/unit/test_fused.py tests/unit/test_resident.py tests/integration/test_resident_search.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test image gpu check format openapi audit bench scale soak compare clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"Saddle needs Python 3.11 or newer; $(PYTHON) is {v}. Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

setup: $(READY) ## Install Saddle and its tools into .venv

demo: $(READY) ## Make a shop, train, index, serve and search it (DEMO='--help' shows options)
	$(BIN)/saddle demo $(DEMO)

test: $(READY) ## Run the tests, on all cores
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8

image: $(READY) ## Build the container image with buildah and enter it (as root; minutes)
	SADDLE_TEST_IMAGE=1 $(BIN)/pytest tests/e2e/test_image.py

gpu: ## Run the tests that need a GPU, in .venv-gpu, and measure it
	$(MAKE) setup VENV=.venv-gpu EXTRAS=gpu,dev
	.venv-gpu/bin/pytest -m gpu $(GPU_TESTS)
	.venv-gpu/bin/python -m benchmarks.gpu --out benchmarks/gpu.json

check: $(READY) ## Lint, check formatting, types and the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=clients/python/src $(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: $(READY) ## Write docs/openapi.json again, after a change of the HTTP interface
	$(BIN)/saddle openapi --out docs/openapi.json

audit: $(READY) ## Ask PyPI's advisories about what is installed (fails with 75 if it cannot ask)
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
		.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'; }
	@$(BIN)/python deploy/audit.py .venv-audit/bin/pip-audit "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

bench: $(READY) ## Measure on Home Depot, three seeds (DATA=folder with products.csv.gz and judgments.csv.gz)
	@test -n "$(DATA)" || { echo "make bench needs DATA=folder with products.csv.gz and judgments.csv.gz; see docs/benchmarks.md"; exit 2; }
	$(BIN)/python -m benchmarks.homedepot --data $(DATA) --out benchmarks/homedepot.json

scale: $(READY) ## Measure millions of products (DATA=folder with products.csv.gz and judgments.csv.gz; an hour, 5 GB)
	@test -n "$(DATA)" || { echo "make scale needs DATA=folder with products.csv.gz and judgments.csv.gz; see docs/benchmarks.md"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,train,dev,compare]'
	$(BIN)/python -m benchmarks.scale --data $(DATA) --work var/scale --out benchmarks/scale.json
	$(BIN)/python -m benchmarks.plots

soak: $(READY) ## Send a service 100,000 senseless requests, kill -9 it 200 times (half an hour)
	$(BIN)/saddle demo --no-serve
	$(BIN)/python -m benchmarks.fuzz --index var/demo/index --out benchmarks/fuzz.json
	$(BIN)/python -m benchmarks.survival --rounds 200 --out benchmarks/survival.json

compare: $(READY) ## Measure ANTHEM beside its twins and other systems (DATA=folder with homedepot/ and flipkart/)
	@test -n "$(DATA)" || { echo "make compare needs DATA=folder with homedepot/ and flipkart/; see docs/benchmarks.md"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,train,dev,compare]'
	OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=2000 $(BIN)/python -m benchmarks.compare --data $(DATA) --out benchmarks/compare.d
	$(BIN)/python -m benchmarks.plots

clean: ## Remove .venv and everything generated
	rm -rf $(VENV) .venv-gpu .venv-audit var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
