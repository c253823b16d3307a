# ledgerd. `make help` lists what there is; everything works as root and as an ordinary user.
# The system's interpreter goes before another in PATH: distributions build theirs with profile-guided optimization, and one that was
# compiled without it takes a fifth more for each request (docs/performance.md).
FITS = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for found in /usr/bin/python3 python3; do "$$found" -c '$(FITS)' 2>/dev/null && break; done; echo "$$found")
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOAD_VENV ?= .venv-load
LOAD_STAMP := $(LOAD_VENV)/.installed
SYSTEMD ?= bounded
JOBS ?= 4
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses $(JOBS) --dist loadfile
SERVERS := tests/acceptance tests/chaos tests/replicas tests/server
PROFILE ?= steady

.DEFAULT_GOAL := help
.PHONY: help setup run test test-servers test-systemd bundle proto lint audit bench compare load profile regress race chaos contract fuzz clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment and install ledgerd into it

run: $(STAMP) ## serve on 127.0.0.1:8080 with an embedded PostgreSQL; Ctrl-C stops it
	@exec $(BIN)/ledgerd serve

test: $(STAMP) ## the everyday tests, on PostgreSQLs that they start themselves (TESTS=… for a part or any others, JOBS=1 for one process)
	@$(PYTEST) $(or $(TESTS),tests $(SERVERS:%=--ignore=%))

test-servers: $(STAMP) ## the tests that start whole servers as processes, reload, stop, slow and kill them
	@$(PYTEST) $(SERVERS)

chaos: $(STAMP) ## the fault tests at full length
	@LEDGERD_CHAOS=full $(BIN)/python -m pytest tests/chaos

test-systemd: $(STAMP) ## boot a Debian with systemd, and install, kill, release and break ledgerd there; root (SYSTEMD=full: at full length)
	@LEDGERD_SYSTEMD=$(SYSTEMD) $(BIN)/python -m pytest -s tests/systemd

bundle: $(STAMP) ## make dist/ledgerd-VERSION/, which installs on hosts without a network
	@$(BIN)/python deploy/bundle

contract: $(STAMP) ## at least 5,000 requests made from the OpenAPI document: no answer may be outside it
	@$(BIN)/python -m tests.contract

race: $(STAMP) ## the stress tests of the core for a minute, on threads and on greenlets
	@$(BIN)/python -m tests.race

fuzz: $(STAMP) ## mutated requests to the request loop for ten minutes, beside gunicorn's own worker
	@$(BIN)/python -m tests.loop.fuzz

proto: $(STAMP) ## make service/rpc/v1 from the protos in proto/; the same protos make the same files
	@$(BIN)/python proto/generate

lint: $(STAMP) ## style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(STAMP) ## weaknesses in the code (bandit) and known ones of the libraries (pip-audit; NOT RUN without a network)
	@$(BIN)/python -m tests.audit

bench: $(STAMP) ## measure posting alone, each part of a transfer, bulk and import, the request loop, telemetry, digests, the core on both, the hot code paths
	@$(BIN)/python -m tests.bench.posting
	@$(BIN)/python -m tests.bench.path
	@$(BIN)/python -m tests.bench.bulk --rounds 1 --lines 100000
	@$(BIN)/python -m tests.bench.loop
	@$(BIN)/python -m tests.bench.telemetry
	@$(BIN)/python -m tests.bench.digest
	@$(BIN)/python -m pytest tests/bench --benchmark-enable --benchmark-only -q
	@$(BIN)/python -m tests.core.patched tests/bench/test_core.py --benchmark-enable --benchmark-only -q

compare: $(STAMP) ## ledgerd beside a plain Go program, same PostgreSQL and load, in turns (OPTIONS="uniform hot --rounds 3"); wrk and Go
	@$(BIN)/python -m tests.bench.compare $(OPTIONS)

load: $(STAMP) $(LOAD_STAMP) ## Locust's clients: PROFILE=steady|hot|bulk|ramp|soak, OPTIONS="--web" for its page, "--host URL" for yours
	@$(BIN)/python -m tests.load $(PROFILE) --locust $(LOAD_VENV)/bin/locust $(OPTIONS)

profile: $(STAMP) $(LOAD_STAMP) ## a flame graph of a worker under load, and a table by function (OPTIONS="users --seconds 20"); wrk, root
	@$(BIN)/python -m tests.bench.profile --py-spy $(LOAD_VENV)/bin/py-spy $(OPTIONS)

regress: $(STAMP) ## the processor time of the hot paths beside that of the change's parent; fails over 10 %
	@$(BIN)/python -m tests.bench.regress $(OPTIONS)

clean: ## remove the virtual environments and what tools left behind; data under var/ stays
	@rm -rf $(VENV) $(LOAD_VENV) build dist *.egg-info .coverage .hypothesis .benchmarks .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
	  { echo "ledgerd needs Python 3.11 to 3.13; this is $$($(PYTHON) --version 2>&1). On Debian: apt install python3 (12 or newer), or make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing ledgerd into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,dev]'
	@touch $@

# Apart, since Locust brings a plugin for pytest that patches the process.
$(LOAD_STAMP): setup.cfg constraints.txt | $(STAMP)
	@test -x $(LOAD_VENV)/bin/python || $(PYTHON) -m venv $(LOAD_VENV)
	@echo "installing what makes load into $(LOAD_VENV)"
	@$(LOAD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[load]'
	@touch $@
