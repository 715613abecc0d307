# Seatrial. `make run` and `make test` are all that a new machine needs; both set it up first, once.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help setup run test lint format soak benchmark model screenshots clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv and build llama.cpp once (about two minutes on two cores)
	@command -v $(PYTHON) >/dev/null || { echo "seatrial: $(PYTHON) not found; install Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) engine/bootstrap.py --venv $(VENV) --extras test

run: setup  ## the main job: the peak-traffic trial on the embedded engine (console on a terminal, else headless)
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/seatrial --start peak-traffic; else exec $(BIN)/seatrial run peak-traffic; fi

test: setup lint  ## lint, then every test but the soaks
	$(BIN)/python -m pytest -m "not soak"

lint: setup  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## let ruff lay out and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

model:  ## train the demo model again, from one seed (about an hour on two cores)
	@test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install -q -r assets/training/requirements.txt
	.venv-train/bin/python -m assets.training --seed 7

benchmark: setup  ## the engine beside llama-server and the other peers, all targets (some three hours)
	$(BIN)/python tests/benchmarks/engine.py --all --long --docs docs/engine.md

soak: setup  ## the long tests
	$(BIN)/python -m pytest -m soak --timeout 3600

screenshots: setup  ## make docs/screenshots from real runs
	$(BIN)/python -m tests.screenshots

clean:  ## remove everything that set-up and tests made
	rm -rf $(VENV) .venv-train .setup .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
