# Everything starts here: `make demo` shows the main job, `make test` checks the project. Both install what is missing.

VENV ?= .venv
export VENV
SLOW ?= 1
JOBS ?= 2

.PHONY: demo test lint bench setup clean

setup:
	@launch/setup.sh

demo: setup
	@launch/demo.sh

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

test: lint
	@$(VENV)/bin/python -m pytest -n $(JOBS) --dist loadgroup $(if $(filter 0,$(SLOW)),-m "not slow") $(ARGS)

bench: setup
	@$(VENV)/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis runs data/digits
