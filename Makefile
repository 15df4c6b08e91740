# The commands of rem-supervisor's development. `make` alone lists them.
#
# Needs Python 3.9 or newer with venv, and make; everything else goes into $(VENV). What was installed is remembered
# in stamp files there, so that only a change to a requirements file, or to pyproject.toml, needs the network again.

VENV ?= .venv
# The Python that $(VENV) is made with; empty: the first python3 that is new enough.
PYTHON ?=
# Install NVIDIA's CUDA 12 libraries (about 1 GB) too: 1 where there is an NVIDIA driver, else 0.
WITH_CUDA ?= $(shell test -e /proc/driver/nvidia/version && echo 1 || echo 0)
# More options for pytest, for instance: make test PYTEST_ARGS="-k spool -x"
PYTEST_ARGS ?=
# More options for the chaos run: --jobs, --seed, --services, --every SECONDS, --limit SECONDS
CHAOS_ARGS ?=
# Options of the benchmark, for instance: make bench BENCH_ARGS="--slots 8 --alone"
BENCH_ARGS ?= --many --real 10
# Options of the accuracy benchmark, for instance: make accuracy ACCURACY_ARGS="--models tiny.en --sample 0.1"
ACCURACY_ARGS ?=
# How many tests run side by side. Two a core: most of them wait for processes, not for a core.
TEST_JOBS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

bin := $(VENV)/bin
# -qq: errors only. Hashes: a package that differs from the tested one by a byte is refused.
pip_install := PIP_USER=0 $(bin)/python -m pip install -qq --no-input --disable-pip-version-check
locked := requirements-build.txt requirements.txt requirements-demo.txt
ifeq ($(WITH_CUDA),1)
locked += requirements-cuda.txt
endif

.PHONY: help venv demo bench accuracy test test-all test-systemd chaos check lint format types samples lock clean

help: ## list these commands
	@echo "make COMMAND, where COMMAND is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(VENV)/.installed ## make .venv with all that the service and the demo need
	@echo "$(VENV) is ready"

demo: $(VENV)/.installed ## transcribe the sample recordings here and now, with no account and no configuration
	@$(bin)/rem-supervisor demo

test: $(VENV)/.installed-dev ## run every test
	@$(bin)/python -m pytest -n $(TEST_JOBS) --dist worksteal --ignore=tests/systemd $(PYTEST_ARGS)

# Ends well, and says SKIPPED, where a machine can't be booted. One after the other: they share the machine.
test-systemd: $(VENV)/.installed-dev ## try the unit file on a real systemd in a container (needs root and systemd-nspawn)
	@$(bin)/python -m pytest tests/systemd $(PYTEST_ARGS)

check: lint ## format, lint, types and the fast tests: for each commit
	@$(bin)/python -m pytest -n $(TEST_JOBS) --dist worksteal -q -m "not slow" $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## format, lint and types, without tests
	@$(bin)/ruff format --check --diff .
	@$(bin)/ruff check .
	@$(MAKE) --no-print-directory types

types: $(VENV)/.installed-dev ## types alone
	@$(bin)/mypy

format: $(VENV)/.installed-dev ## put the code into its one format, and mend what ruff can mend
	@$(bin)/ruff format .
	@$(bin)/ruff check --fix .

test-all: ## run every test on each Python found here, from 3.9 on
	@failed=; \
	for found in $$(sh .ci/pythons | tr ' ' '='); do \
	    version=$${found%%=*}; \
	    echo "== Python $$version"; \
	    $(MAKE) --no-print-directory test VENV=.venvs/$$version PYTHON=$${found#*=} || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "test-all: failed on$$failed" >&2; exit 1; fi

chaos: $(VENV)/.installed-dev ## 300 recordings while everything is killed, stopped and cut off at random (CHAOS_ARGS="--jobs 60 --seed 7")
	@$(bin)/python -m tests.chaos.soak $(CHAOS_ARGS)

bench: $(VENV)/.installed ## measure the supervisor beside its peers: a quarter of an hour
	@$(bin)/python bench/supervision.py $(BENCH_ARGS)

accuracy: $(VENV)/.installed ## word error rates of each profile beside plain faster-whisper, over thousands of words
	@$(bin)/python bench/accuracy.py $(ACCURACY_ARGS)

samples: $(VENV)/.installed ## speak the sample recordings anew (needs espeak-ng)
	@$(bin)/python tests/make_samples.py supervisor/samples

clean: ## remove everything that these commands made
	rm -rf .venv .venvs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment

# An environment that no longer starts (its Python went away, the folder was moved) is made anew.
$(VENV)/.installed: pyproject.toml $(locked)
	@if ! $(bin)/python -c 'import pip' 2>/dev/null; then \
	    python="$(PYTHON)"; \
	    if [ -z "$$python" ]; then found=$$(sh .ci/pythons first); python=$${found#* }; fi; \
	    if [ -z "$$python" ]; then \
	        echo "make: no Python from 3.9 on that can make environments was found." >&2; \
	        echo "      Install one (Debian and Ubuntu: apt install python3 python3-venv; RHEL: dnf install python3.11)," >&2; \
	        echo "      or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { \
	        echo "make: $$python is not Python 3.9 or newer; name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    }; \
	    echo "Making $(VENV) with $$python"; \
	    "$$python" -m venv --clear $(VENV) || { \
	        echo "make: that Python cannot make environments; Debian and Ubuntu: apt install python3-venv" >&2; \
	        exit 1; \
	    }; \
	fi
	@echo "Installing pinned requirements into $(VENV): 220 MB the first time, half a minute to a few minutes"
	@$(pip_install) --require-hashes -r requirements-build.txt
	@$(pip_install) --require-hashes $(addprefix -r ,$(filter-out requirements-build.txt,$(locked)))
	@# compat: one line in a .pth file instead of an import hook, which would cost every process memory and time.
	@$(pip_install) --no-index --no-deps --no-build-isolation -C editable_mode=compat --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing test tools into $(VENV): 60 MB the first time"
	@$(pip_install) --require-hashes -r requirements-dev.txt
	@touch $@

# ---- the pinned requirements

# Keeps each version that still fits; `make lock LOCK_ARGS=--upgrade` takes the newest of all. One resolution serves every
# Python from 3.9 on and every platform, with markers where versions must differ: docs/decisions/0001.
LOCK_ARGS ?=
uv := .venvs/lock/bin/uv
compile := $(uv) pip compile -q --universal --generate-hashes --no-annotate --python-version 3.9 $(LOCK_ARGS)

lock: $(uv) ## find versions anew after a change in pyproject.toml (LOCK_ARGS=--upgrade: the newest)
	$(compile) --group build -o requirements-build.txt
	$(compile) pyproject.toml -o requirements.txt
	$(compile) --group demo -c requirements.txt -o requirements-demo.txt
	$(compile) --group cuda -c requirements.txt -o requirements-cuda.txt
	$(compile) --group openai-whisper -c requirements.txt -o requirements-openai-whisper.txt
	$(compile) --group pywhispercpp -c requirements.txt -o requirements-pywhispercpp.txt
	$(compile) --group dev -c requirements.txt -c requirements-build.txt -o requirements-dev.txt

$(uv):
	@found=$$(sh .ci/pythons first); "$${found#* }" -m venv --clear .venvs/lock
	@.venvs/lock/bin/python -m pip install -qq --disable-pip-version-check uv==0.13.9
