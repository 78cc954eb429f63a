# Set-up lives in .venv; stamp files make a second call quick. Any Python of 3.11 or later will do: make PYTHON=python3.12
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: demo test slow lint clean
.DELETE_ON_ERROR:

# The whole of it on an embedded data set: train, price, compress to half the latency, measure, report.
demo: $(VENV)/.installed
	$(BIN)/netsmith demo --out runs/demo

# A file's tests stay in one of the two processes, for they share what is trained or compressed once; in order of name,
# for the longest would otherwise come last.
test: $(VENV)/.tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

slow: $(VENV)/.tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no python3 found; install Python 3.11 or later" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11; say which one to use: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# constraints.txt pins torch: an open bound brings the newest build, gigabytes of GPU libraries and all.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing netsmith into $(VENV) (a minute or two, once)"
	$(PIP) -e .
	@touch $@

# The tests load networks of timm and torchvision. --no-deps, for they would replace the torch that is installed.
$(VENV)/.tested: $(VENV)/.installed
	$(PIP) -e '.[dev,rl]' pyyaml huggingface_hub
	$(PIP) --no-deps timm torchvision
	@touch $@
