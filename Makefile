# Two commands for users: `make train` (the main job) and `make test`. Both set everything up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pytest's own options, e.g. make test PYTEST_ARGS="-m slow". A file is one worker's: its tests
# share what they compile and train.
PYTEST_ARGS ?= -m "not slow" -n 2 --dist loadfile
TRAIN_ARGS ?= --backend numba

.PHONY: train test lint docs bench sanitize clean

train: $(VENV)/installed
	$(BIN)/fastnn train $(TRAIN_ARGS)

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The manual, in build/docs/index.html. The gallery is run anew where a script has changed.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

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
	  tests/backends/test_updates.py tests/backends/test_layers.py tests/backends/test_sparse_input.py \
	  tests/backends/test_inactive_units.py tests/backends/test_split_units.py tests/backends/test_train.py

bench: $(VENV)/installed-test
	$(BIN)/python -m benchmarks

SOURCES := pyproject.toml setup.py fastnn/backends/codes.py $(wildcard src_cython/*)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fastnn needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Editable, so that the sources are what runs; a change of the extension's sources builds it anew.
$(VENV)/installed: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/installed-test: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info fastnn/backends/*.so docs/auto_gallery docs/reference/generated
