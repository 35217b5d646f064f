# Every target works from a fresh clone with only python3 (3.11 or newer): what is needed is
# installed into .venv the first time, and again only when the requirements change.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test fast check format bench gpu clean

help:
	@echo "make demo     a small model from built-in text: trained, evaluated, writing (minutes)"
	@echo "make test     all tests that need no GPU"
	@echo "make fast     the same without the slow ones"
	@echo "make check    format, lint, types, floors, spelling"
	@echo "make format   put the code into its form"
	@echo "make bench    measure against peers"
	@echo "make gpu      the tests and measurements that need a CUDA device"
	@echo "make clean    remove .venv and caches; runs/ stays"

demo: $(VENV)/.use
	$(BIN)/ownlm demo
	@echo "for the commands above: source $(BIN)/activate"

test: $(VENV)/.develop
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not gpu"

fast: $(VENV)/.develop
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not gpu and not slow"

check: $(VENV)/.develop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/typos

format: $(VENV)/.develop
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# With a checkout of nanoGPT its runs are measured beside ours: make bench NANOGPT=../nanoGPT
NANOGPT ?=
TEXT ?= ../shared/data/text/tinyshakespeare.txt
ALONE := --contestants ownlm-bf16-eager,ownlm-fp32-eager
bench: $(VENV)/.develop
	$(BIN)/python benchmarks/limits.py
	$(BIN)/python benchmarks/training.py $(if $(NANOGPT),--nanogpt $(NANOGPT),$(ALONE))
	$(if $(NANOGPT),$(BIN)/python benchmarks/char_tiny.py --nanogpt $(NANOGPT) --text $(TEXT))

# A machine with a GPU often brings its own Python with torch: make gpu GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(VENV)/.develop)
	@if $(GPU_PYTHON) -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then \
		PYTHONPATH=src $(GPU_PYTHON) -m pytest -m gpu; \
	else \
		echo "make gpu: torch sees no CUDA device here, so nothing was run"; \
	fi

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"ownlm needs Python 3.11 or newer, this is " + sys.version.split()[0] + \
		": make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.use: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): some minutes, most of them for torch"
	$(INSTALL) -e '.[data,report,eval,serve,ui,convert]'
	@touch $@

$(VENV)/.develop: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): some minutes, most of them for torch"
	$(INSTALL) -e '.[data,report,eval,serve,ui,convert,dev]'
	@touch $@ $(VENV)/.use
