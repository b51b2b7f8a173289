# Everything starts here: `make demo` shows the main job, `make test` checks the project. Both install what is missing.

VENV ?= .venv
export VENV
SLOW ?= 1
JOBS ?= 3
PYTEST = env -u MAKEFLAGS $(VENV)/bin/python -m pytest
PYTEST_ARGS = $(if $(filter 0,$(SLOW)),-m "not slow") $(ARGS)
# Hundreds of processes import the package: without its bytecode, each would compile it again for half a second.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all-but-faults test-faults lint docs bench gpu setup clean

setup:
	@launch/setup.sh

demo: setup
	@launch/demo.sh

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo --no-cache

# The tests of a file stay together, since they share servers. Those of faults say how long a store may be silent, so they
# run in a process of their own, and the others give way to them. A thread for each process: more of them than cores wait
# for each other at every operation.
test: export OMP_NUM_THREADS ?= 1
test: lint
ifdef TESTS
	@$(PYTEST) $(TESTS) $(PYTEST_ARGS)
else
	@+$(MAKE) --no-print-directory --jobs 2 test-all-but-faults test-faults
endif

test-all-but-faults:
	@nice -n 10 $(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder --ignore tests/faults $(PYTEST_ARGS) || [ $$? = 5 ]

test-faults:
	@said=$$(mktemp); $(PYTEST) tests/faults $(PYTEST_ARGS) >$$said 2>&1; status=$$?; cat $$said; rm $$said; \
	  [ $$status = 0 ] || [ $$status = 5 ]  # 5: ARGS choose none of these

docs: setup
	@$(VENV)/bin/mkdocs build --strict

bench: setup
	@$(VENV)/bin/python -m benchmarks $(ARGS)

gpu: setup
	@$(VENV)/bin/sadp-dist selftest --gpu $(ARGS)

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis site runs data/digits
