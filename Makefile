# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
#
# Every target first brings .venv up to date through .ci/venv, which takes a moment when nothing changed.
#   PYTHON=/path/to/python make ...   another interpreter
#   make VENV=.venv-3.13 ...          another environment
#   make test ARGS="-k memory -x"     arguments for the command that runs
#   ANYWASM_FASTCALL=0 make ...       without the C extensions, which are built where there is a compiler
#   make VENV=.venv-compiled COMPILED=1 ...   with the data plane compiled, which takes minutes
VENV ?= .venv
ARGS ?=
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format guests bench clean venv-demo venv-dev

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv-demo ## serve the demo functions on every engine that is installed
	@$(BIN)/anywasm demo $(ARGS)

# All tests run in two processes that share them; those that ARGS choose, in one.
test: venv-dev ## run the tests
	@$(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist worksteal)

lint: venv-dev ## style, formatting, and which package may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: venv-dev ## check the types of the package and of the tests
	@$(BIN)/mypy
	@$(BIN)/mypy tests

format: venv-dev ## rewrite the sources in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

guests: venv-dev ## rebuild the WebAssembly guests of sdk/
	@$(BIN)/python -m anywasm.sdk.build $(ARGS)

bench: venv-dev ## a quick run of the benchmarks: engines, their bindings, native code
	@$(BIN)/anywasm bench --quick $(ARGS)

clean: ## remove environments, builds and caches
	@rm -rf .venv .venv-* build dist src/*.egg-info \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache
	@find . -path ./.git -prune -o '(' -name __pycache__ -o -name '*.so' ')' -prune -exec rm -rf {} +

venv-demo:
	@.ci/venv $(VENV) demo

venv-dev:
	@.ci/venv $(VENV) $(if $(COMPILED),compiled,dev)
