# Two commands are all the set-up there is: `make demo` runs the main job, `make test` the checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Dagster and pytest find their own; the tests must not see a user's settings.
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: help demo dev sandbox test lint types layers tests duckdb-lines torch-readers format benchmarks scale-out clean

help:
	@echo "make demo        the sandbox archive, its metadata, some images, a day in its life"
	@echo "make dev         the Dagster UI on the demo's data"
	@echo "make sandbox     the sandbox archive alone"
	@echo "make test        lint, types, import layers, all tests, on three lines of duckdb"
	@echo "make torch-readers  nnU-Net, MONAI and PyTorch read a dataset; needs Debian's python3-torch"
	@echo "make benchmarks  the figures in docs/performance.md; some minutes"
	@echo "make scale-out   two shards on two Celery workers, one of them killed; needs redis-server"
	@echo "make format      format and fix what can be fixed"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[sandbox]'
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python scripts/demo.py

dev: $(VENV)/.installed
	$(BIN)/python scripts/dev.py

sandbox: $(VENV)/.installed
	$(BIN)/tcia-assets sandbox

test: lint types layers tests duckdb-lines

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# Who has nothing left takes over from the other: whole modules are long.
ON_BOTH_CORES := -n 2 --dist worksteal

tests: $(VENV)/.dev
	$(BIN)/pytest $(ON_BOTH_CORES)

# Beside idc-index duckdb stays below 2; without it users get the newest. Both must read and write.
DUCKDB_TESTS := $(addprefix tcia_assets_tests/, sources/nbia/test_wire.py store metadata/test_listing.py \
	metadata/test_history.py cli/test_cli.py)

duckdb-lines: .duckdb-1.4 .duckdb-2.0
	PYTHONPATH=.duckdb-1.4 $(BIN)/pytest $(ON_BOTH_CORES) -q $(DUCKDB_TESTS)
	PYTHONPATH=.duckdb-2.0 $(BIN)/pytest $(ON_BOTH_CORES) -q $(DUCKDB_TESTS)

.duckdb-%: | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --no-deps --target $@ 'duckdb==$*.*'

# nnU-Net and MONAI need torch, which Debian has without what graphics cards need: 6 GB less. What it
# has must not be replaced, so nnU-Net comes without what it asks for, and that after it.
TORCH := .venv-torch
TORCH_TESTS := $(addprefix tcia_assets_tests/datasets/test_, training.py formats.py)

torch-readers: $(TORCH)/.installed
	TORCH_READERS=1 $(TORCH)/bin/python -m pytest -q -p no:cacheprovider $(TORCH_TESTS) \
		-k 'pytorch or monai or verifier_of_nnunet'

$(TORCH)/.installed: pyproject.toml
	/usr/bin/python3 -m venv --clear --system-site-packages $(TORCH)
	$(TORCH)/bin/python -c 'import torch; print(f"torch=={torch.__version__.split("+")[0]}")' \
		> $(TORCH)/held
	$(TORCH)/bin/python -m pip install --quiet --constraint $(TORCH)/held --editable '.[sandbox]' \
		pytest hypothesis psutil monai SimpleITK scikit-learn scikit-image pandas tqdm tifffile blosc2 \
		connected-components-3d
	$(TORCH)/bin/python -m pip install --quiet --no-deps nnunetv2 acvl-utils batchgenerators \
		batchgeneratorsv2 dynamic-network-architectures
	touch $@

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python scripts/write_docs.py

benchmarks: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable '.[full,fast]'
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/full_refresh.py
	$(BIN)/python benchmarks/downloads.py
	$(BIN)/python benchmarks/volumes.py
	$(BIN)/python benchmarks/datasets.py
	$(BIN)/python benchmarks/ticks.py

# In a folder of its own: dagster-celery goes with one version of Dagster only.
.venv-celery/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-celery
	.venv-celery/bin/python -m pip install --quiet --editable '.[sandbox]' 'dagster-celery[redis]>=0.29'
	touch $@

scale-out: .venv-celery/.installed
	.venv-celery/bin/python scripts/scale_out.py

clean:
	rm -rf $(VENV) .venv-celery .duckdb-* build dist
