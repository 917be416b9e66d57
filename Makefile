# Every target sets up what it needs in .venv and installs again only when pyproject.toml changed.
#
#   make demo         train DA-LoRA on the built-in set and print its verification report
#   make test         every test that needs no torch and no ONNX
#   make test-peers   the live comparisons with transformers and PEFT (installs torch)
#   make test-onnx    the ONNX export in ONNX Runtime, in .venv-onnx: its converter wants an older Orbax
#   make quality      lint, formatting and types, changing nothing
#   make style        format, and fix what can be fixed
#   make bench        time the training step here and in transformers + PEFT
#
# PYTHON=python3.12          another interpreter for a new .venv
# PEERS_TORCH="torch==..."   another torch for test-peers and bench; pip options may follow, such as a wheel index of
#                            CPU builds: the default build brings gigabytes of CUDA libraries on Linux
# WORKERS=4                  test processes

PYTHON ?= python3
PEERS_TORCH ?= torch==2.13.0
WORKERS ?= 2

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet
INSTALLED := $(VENV)/installed

.PHONY: demo test test-peers test-onnx quality style bench
.DELETE_ON_ERROR:

demo: $(INSTALLED)-run
	$(RUN) -m adaptface_jax.train --config=configs/demo.py --workdir=runs/demo

test: $(INSTALLED)-test
	$(RUN) -m pytest -n $(WORKERS) -m "not peers and not onnx"

test-peers: $(INSTALLED)-peers
	$(RUN) -m pytest -n $(WORKERS) -m peers

test-onnx:
	$(MAKE) VENV=.venv-onnx .venv-onnx/installed-onnx
	.venv-onnx/bin/python -m pytest -m onnx

quality: $(INSTALLED)-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

style: $(INSTALLED)-dev
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix

bench: $(INSTALLED)-peers
	$(RUN) benchmarks/train_step.py

$(INSTALLED)-run: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable .
	@touch $@

$(INSTALLED)-test: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[test,align]'
	@touch $@

$(INSTALLED)-dev: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[dev]'
	@touch $@

# torch on its own first, or PEFT's requirement would pick a build.
$(INSTALLED)-peers: $(INSTALLED)-python pyproject.toml
	$(PIP) $(PEERS_TORCH)
	$(PIP) --editable '.[test,peers]'
	@touch $@

$(INSTALLED)-onnx: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[test,onnx]'
	@touch $@

$(INSTALLED)-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is not Python 3.11 or newer; name one with: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "error: $(PYTHON) cannot make virtual environments; install its venv package (Debian: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
