# Every target sets up what it needs in .venv, and reinstalls only when pyproject.toml has changed.
#
#   make install      everything a user needs
#   make demo         train DA-LoRA on the built-in set and print its verification report
#   make test         every test without torch and ONNX, and beside them the next two
#   make test-wheel   the wheel, in a bare environment and an empty folder
#   make test-newest  some tests on the newest jax, in .venv-newest if the Python of .venv is too old for it
#   make test-peers   the live comparisons with transformers and PEFT (installs torch)
#   make test-onnx    the ONNX export in ONNX Runtime, in .venv-onnx: its converter wants an older Orbax
#   make quality      check lint, formatting and types
#   make style        format, and fix lint where possible
#   make docs         the handbook as pages in site/; any warning is an error
#   make bench        time the training step here and in transformers + PEFT
#   make bench-gpu    the same on an accelerator, every size, in under ten minutes; into benchmarks/results/gpu.json
#
# PYTHON=python3.12          another interpreter for a new .venv
# PEERS_TORCH="torch==..."   another torch for test-peers and bench; pip options may follow, such as a wheel index for
#                            CPU builds: on Linux the default build pulls in gigabytes of CUDA libraries
# WORKERS=4                  test processes
#
# Accelerators: .venv/bin/python -m pip install '.[cuda]', or '.[tpu]'

PYTHON ?= python3
PEERS_TORCH ?= torch==2.13.0
WORKERS ?= 2
TEST_EXTRAS := test,align

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet
INSTALLED := $(VENV)/installed

# The tests that a new jax or flax breaks first: settings, models, losses, the training step, checkpoints, a command.
NEWEST_TESTS := tests/config tests/losses/test_margin.py \
  $(patsubst %,tests/models/test_%.py,attention parameters positions) tests/models/kernels/test_hopper.py \
  tests/training/test_optim.py tests/training/test_checkpoint.py \
  $(addprefix tests/training/test_step.py::test_,every_part_that_should_learn_does the_state_is_donated_and_the_frozen_tree_untouched \
    a_warm_loop_transfers_nothing_by_itself_and_never_compiles_again) tests/commands/test_evaluate.py::test_everything_in_one_command tests/api/test_examples.py

.PHONY: install demo test test-suite test-beside test-wheel test-newest newest test-peers test-onnx quality style docs bench bench-gpu
.DELETE_ON_ERROR:

install: $(INSTALLED)-run
	@$(NEXT)

demo: $(INSTALLED)-run
	$(VENV)/bin/adaptface train --config=demo --workdir=runs/demo
	@$(NEXT)
	@echo "The demo's curves: $(VENV)/bin/tensorboard --logdir runs"

define NEXT
echo; \
echo "Next:  . $(VENV)/bin/activate"; \
echo "       adaptface init FOLDER_OF_PEOPLE     # inspects it, prints the commands for it"; \
echo "adaptface --help lists the commands; without activation, use $(VENV)/bin/adaptface"
endef

test: $(INSTALLED)-test
	$(MAKE) -j2 --keep-going test-suite test-beside

test-suite: $(INSTALLED)-test
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal -m "not peers and not onnx"

# While the suite leaves the processors idle; what it prints comes at its end, in one piece.
test-beside: $(INSTALLED)-test
	@said=$$($(MAKE) --keep-going test-wheel test-newest 2>&1); status=$$?; printf "%s\n" "$$said"; exit $$status

test-wheel: $(INSTALLED)-test
	$(RUN) tests/wheel/check.py

# jax 0.11 and later want Python 3.12. A python3.12 on the PATH may be a broken shim: pyenv's are tried by path.
test-newest: $(INSTALLED)-test
	@if $(RUN) -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
	  echo "test-newest: skipped, the Python of $(VENV) already has the newest jax"; exit; \
	fi; \
	for python in python3.13 python3.12 python3.14 \
	    $$(ls -d "$$(pyenv root 2> /dev/null)"/versions/3.1[2-9].*[0-9]/bin/python 2> /dev/null | sort -rV); do \
	  if $$python -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 12))' 2> /dev/null; then \
	    $(MAKE) VENV=.venv-newest PYTHON=$$python TEST_EXTRAS=test newest; exit; \
	  fi; \
	done; \
	echo "test-newest: skipped, found no Python 3.12 to 3.14 that can create virtual environments"

newest: $(INSTALLED)-test
	$(RUN) -m pytest -n $(WORKERS) -m "not slow" $(NEWEST_TESTS)

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

docs: $(INSTALLED)-docs
	$(RUN) -m mkdocs build --strict --quiet
	@echo "the handbook: site/index.html"

bench: $(INSTALLED)-peers
	$(RUN) benchmarks/train_step.py

# If a Python already has torch and jax for the device: make bench-gpu GPU_PYTHON=python3
GPU_PYTHON ?= $(RUN)
bench-gpu: $(if $(filter $(RUN),$(GPU_PYTHON)),$(INSTALLED)-peers)
	$(GPU_PYTHON) benchmarks/gpu.py --out benchmarks/results/gpu.json

$(INSTALLED)-run: $(INSTALLED)-python pyproject.toml
	@echo "installing jax, flax and other packages into $(VENV), this takes a few minutes ..."
	$(RUN) -m pip install --editable .
	@touch $@

$(INSTALLED)-test: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[$(TEST_EXTRAS)]'
	@touch $@

$(INSTALLED)-dev: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[dev]'
	@touch $@

$(INSTALLED)-docs: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[docs]'
	@touch $@

# What quality, docs and test need, in one go.
$(INSTALLED)-ci: $(INSTALLED)-python pyproject.toml
	$(PIP) --editable '.[dev,docs,test,align]'
	@touch $(INSTALLED)-dev $(INSTALLED)-docs $(INSTALLED)-test $@

# torch first, or PEFT's requirement would pick a build.
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
	  echo "error: $(PYTHON) cannot create virtual environments; install its venv package (Debian: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
