# SPDX-License-Identifier: Apache-2.0
# Needs Python 3.11 or newer with pip, and GNU make. Everything else is installed into .venv.
#
#   make demo [IMAGES=folder]   run a model swap batch against the emulator
#   make demo-person            generate persons in one photograph, against the emulator
#   make demo-refresh           refresh a small catalogue on three nights, against the emulator
#   make test [ARGS="-k hook"]  run the test suite
#   make install-check          install the wheel beside each supported Airflow
#   make chaos                  kill components of a running Airflow (takes some minutes)
#   make cluster                start a distributed Airflow (Postgres, Redis, Celery) with the emulator
#   make cluster-down           stop it
#   make ui                     start Airflow with the emulator, a local S3 server and the example DAGs
#   make ci                     run all checks (.ci/run)

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
IMAGES ?=
COVERAGE ?=
PROCESSES ?= 6
COVER  := --cov --cov-report=term:skip-covered --cov-report=xml

BIN := $(VENV)/bin
PY  := $(BIN)/python
UV  := $(BIN)/uv

# Use the system's certificates, as pip does: a company proxy may have its own.
export UV_SYSTEM_CERTS ?= true
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
# Images of Python often set this. Then every process compiles Airflow again, which takes half of its start.
unexport PYTHONDONTWRITEBYTECODE

# uv takes seconds, pip half a minute; pip is used if uv cannot reach its index.
install = $(UV) pip install --quiet --python $(PY) $(1) || $(PYTHON) -m pip --python $(PY) install --quiet $(1)

# $(call waiting,TEXT,COMMAND): run a command; on a terminal, show the seconds that it takes.
define waiting
@printf '%s ...' '$(1)'; test -t 1 || echo; ( $(2) ) & command=$$!; start=$$(date +%s); \
trap 'kill $$command 2>/dev/null; exit 130' INT TERM; \
if test -t 1; then while kill -0 $$command 2>/dev/null; do \
printf '\r%s ... %s s' '$(1)' $$(( $$(date +%s) - start )); sleep 0.5; done; echo; fi; wait $$command
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help chaos cluster cluster-down demo demo-person demo-refresh test ui install format lint types docs bench versions wheel-check install-check ci clean

help:
	@sed -n 's/^#   //p' Makefile

# `--without-pip` also works if the distribution packages ensurepip separately.
$(VENV)/.uv:
	@echo "creating $(VENV)"
	@test -x $(PY) || $(PYTHON) -m venv --without-pip $(VENV)
	@test -x $(UV) || $(PYTHON) -m pip --python $(PY) install --quiet uv \
	  || { $(PYTHON) -m venv $(VENV) && $(PY) -m pip install --quiet uv; }
	@touch $@

$(VENV)/.demo: $(VENV)/.uv pyproject.toml
	$(call waiting,installing the package with the demo,$(call install,--editable '.[demo]'))
	@touch $@

$(VENV)/.ui: $(VENV)/.uv pyproject.toml
	$(call waiting,installing the package with the demo and a local S3 server,$(call install,--editable '.[ui]'))
	@touch $@ $(VENV)/.demo

$(VENV)/.cluster: $(VENV)/.demo
	$(call waiting,installing Celery and the drivers of Postgres and Redis,$(call install,--editable '.[cluster]'))
	@touch $@

$(VENV)/.dev: $(VENV)/.uv pyproject.toml
	$(call waiting,installing the package with everything for development,$(call install,--editable '.[dev]'))
	@touch $@ $(VENV)/.demo $(VENV)/.ui

install: $(VENV)/.dev

demo: $(VENV)/.demo
	@$(PY) -m airflow_provider_piktid.demo $(if $(IMAGES),--images '$(IMAGES)') $(ARGS)

demo-person: $(VENV)/.demo
	@$(PY) -m airflow_provider_piktid.demo person $(if $(IMAGES),--images '$(IMAGES)') $(ARGS)

demo-refresh: $(VENV)/.demo
	@$(PY) -m airflow_provider_piktid.demo refresh $(ARGS)

ui: $(VENV)/.ui
	@$(PY) -m airflow_provider_piktid.demo ui $(ARGS)

cluster: $(VENV)/.cluster
	@$(PY) -m tests.cluster up $(ARGS)

cluster-down: $(VENV)/.cluster
	@$(PY) -m tests.cluster down

# Tests that start a whole Airflow run one at a time, the others in parallel.
test: $(VENV)/.dev
	@$(PY) -m pytest -n $(PROCESSES) --dist worksteal -m "not stack and not chaos" $(if $(COVERAGE),$(COVER)) $(ARGS)
	@$(PY) -m pytest -m "stack and not chaos" $(ARGS) || [ $$? -eq 5 ]

chaos: $(VENV)/.dev $(VENV)/.cluster
	@$(PY) -m pytest -q -m chaos -s tests/system tests/refresh $(ARGS)

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.dev
	@$(BIN)/mypy

docs: $(VENV)/.dev
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/.dev
	@$(PY) -m tests.bench $(ARGS)

versions: $(VENV)/.dev
	@.ci/versions $(ARGS)

wheel-check: $(VENV)/.dev
	@.ci/wheel-check

install-check: $(VENV)/.dev
	@.ci/install-check $(ARGS)

ci:
	@.ci/run

clean:
	rm -rf .venv .venv-* build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage coverage.xml htmlcov
