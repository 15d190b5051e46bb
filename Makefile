# One word runs everything. Needs only Python >= 3.11 with its venv module, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What is only for attacking has an environment of its own.
FUZZ := $(VENV)/fuzz

.PHONY: help demo test test-browser screenshots check lint types bench bench-full bench-check bench-scale attack chaos chaos-long fuzz lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Run the main job without any account, and keep serving
	@$(BIN)/otp-gateway demo

# The bytecode is kept whatever the environment says: every worker would compile the tests anew, and every program that
# they start the gateway: a minute of processor time.
test: $(READY) ## Run all tests, PostgreSQL included
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 3 --dist worksteal --cov --cov-report=term --cov-fail-under=95

test-browser: $(READY) ## Walk through the sandbox page in the system's Chromium, without a window
	@$(BIN)/python -m pytest -q -m browser tests/browser

screenshots: $(READY) ## Take the pictures of the sandbox page that are in docs/images
	@SCREENSHOTS=docs/images $(BIN)/python -m pytest -q -m browser tests/browser -k screenshots

check: $(READY) lint types test ## Everything CI runs: lint, format, types, tests with coverage

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy

bench: $(READY) ## Measure against yardsticks in the same run (15 minutes at most); rewrites docs/benchmarks.md
	@$(BIN)/python -m benchmarks

bench-full: $(READY) ## The same with other programs and a million messages (1.5 hours at most; goes on where it stopped)
	@$(BIN)/python -m benchmarks --full --resume $(VENV)/bench-full

bench-check: $(READY) ## Count the instructions of an accept, a send and a check (5 minutes); fails where they grew
	@$(BIN)/python -m benchmarks.instructions

bench-scale: $(READY) ## Measure several nodes on one PostgreSQL; rewrites docs/scaling.md
	@$(BIN)/python -m benchmarks scale

chaos: $(READY) ## Inject every fault there is, sampled (20 minutes at most); rewrites docs/reliability.md
	@$(BIN)/python -m tests.faults --mutations

chaos-long: $(READY) ## The same at length: a hundred kills, and a soak of two hours
	@$(BIN)/python -m tests.faults --long --mutations

attack: $(READY) ## Break in over the wire as four people would, on both databases (14 minutes); fails where anything falls
	@$(BIN)/python -m tests.breaking_in

fuzz: $(READY) $(FUZZ)/bin/schemathesis ## Attack a running gateway by its OpenAPI document (5 minutes)
	@$(BIN)/python -m tests.fuzz $(FUZZ)/bin/schemathesis

$(FUZZ)/bin/schemathesis: $(READY)
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check schemathesis==4.32.5

lock: ## Compile the dependencies' versions and hashes (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 pyproject.toml --group dev -o requirements.txt

clean: ## Remove what was set up
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is needed ($(PYTHON)): install it, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "Python's venv module is needed: install it (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(VENV) (about a minute, once)" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
