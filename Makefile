# One room for the tools: every target sets up what it needs by itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A service account may have no home to write to; uv ends with an error where it cannot keep its cache.
CACHE = $(or $(UV_CACHE_DIR),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/uv,$(HOME)/.cache/uv))
NO_CACHE = $(shell mkdir -p "$(CACHE)" 2>/dev/null && test -w "$(CACHE)" || echo --no-cache)

export PYTHONSAFEPATH = 1

.PHONY: setup demo docs test check lint audit clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	# By pip, which takes torch's CPU build where an index offers one; uv then leaves it as it is.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-c constraints.txt torch
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install $(NO_CACHE) --quiet \
		-c constraints.txt -e ".[dev]"
	# Neither leaves bytecode; without it every start compiles for seconds what it imports.
	-$(BIN)/python -m compileall -q -j 0 -x '/(torch|sympy|playwright|mypy|skimage)/' \
		$(VENV)/lib >/dev/null 2>&1
	touch $(READY)

demo: $(READY)
	$(BIN)/phasemill demo

docs: $(READY)
	$(BIN)/python docs/job_keys.py
	$(BIN)/python docs/command_help.py
	PYTHONSAFEPATH= $(BIN)/sphinx-build -c docs -W --keep-going -q . build/site
	@echo build/site/index.html

# Two at a time, files whole: most of a file's time may be what its tests share.
test: lint
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow"
	NUMBA_ENABLE_CUDASIM=1 $(BIN)/pytest -q -n 2 -m "gpu and not slow" tests/gpu_kernels
	$(BIN)/pytest -q -n 2 --dist loadfile -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test

# In an environment of its own, which must not change what it judges.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		pip-audit
	.venv-audit/bin/pip-audit --strict --vulnerability-service osv --no-deps --disable-pip -r constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
