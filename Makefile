# make demo | test | check | lint | laws | bench | gallery | clean: each sets itself up, with nothing but Python >= 3.11 and make.
# check is lint and test: what a change has to pass. laws runs every case of tests/laws, of which test runs a share.
# VENV=DIR puts the environment elsewhere, PYTHON=PATH chooses the Python, JOBS=N the processes of the tests, TESTS=... what pytest is given.

VENV ?= .venv
JOBS ?= 2
EXTRAS ?= dev
DEMO ?= out/quickstart

# The first Python that is new enough and can make environments; of an activated environment, its base.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.version_info < (3, 11) and sys.exit(1); \
	print(getattr(sys, "_base_executable", None) or sys.executable)' 2>/dev/null && break; done)

BIN = $(VENV)/bin
MADE = $(VENV)/.made-by-make
RUN = $(VENV)/.installed
DEV = $(VENV)/.installed-$(EXTRAS)

# An environment does not survive that its folder is moved, or that its Python goes.
STALE := $(shell [ "$$(cat $(RUN) 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '' 2>/dev/null || echo stale)

.PHONY: help demo env test check laws lint bench gallery clean stale

help:
	@sed -n '1,3s/^# \{0,1\}//p' Makefile

demo: $(RUN)
	$(BIN)/moesim run experiments/quickstart.yaml --out $(DEMO)

env: $(DEV)

test: $(DEV)
	$(BIN)/python -m pytest -q -n $(JOBS) $(TESTS)

check: lint test

laws: $(DEV)
	MOESIM_LAWS=all $(BIN)/python -m pytest -q -n $(JOBS) tests/laws

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV)
	$(BIN)/python -m pytest -q -s benchmarks

gallery: $(DEV)
	for name in gallery gallery-parts gallery-code gallery-sensitivity; do \
		$(BIN)/moesim run $$name --force --out out/$$name && cp out/$$name/figures/*.png docs/gallery/ || exit 1; done

clean:
	rm -rf out build *.egg-info .benchmarks .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	if [ -e $(MADE) ]; then rm -rf $(VENV); fi

# A stamp is written when everything before it succeeded: what was interrupted is made again from
# nothing, and so is everything when what is installed has changed. A folder that was not made here
# is left alone.
$(RUN): setup.cfg pyproject.toml $(STALE)
	@if [ -z "$(PYTHON)" ]; then \
		echo "moesim needs Python 3.11 or newer, with its modules venv and ensurepip (on Debian and Ubuntu: apt install python3-venv)." >&2; \
		echo "None was found on the PATH; name one: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@if [ -e $(VENV) ] && [ ! -e $(MADE) ]; then \
		echo "$(VENV) was not made by make: move it away, or choose another folder: make VENV=.venv-make" >&2; exit 1; fi
	rm -rf $(VENV)
	mkdir -p $(VENV)
	touch $(MADE)
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable .
	@echo "$(CURDIR)" > $@

stale:

$(DEV): $(RUN)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[$(EXTRAS)]'
	touch $@
