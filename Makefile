# Two commands on a fresh machine (Debian or Ubuntu with Python, apt, pip and npm):
#   make up     rehearse the whole deployment on this machine
#   make test   run every test
# Each installs what it needs and says so first.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: up down test test-fast test-machines lint bench-fleet docs clean

up: $(READY)
	@scripts/prepare up
	@$(BIN)/hubdeploy up --sandbox --yes

down: $(READY)
	@$(BIN)/hubdeploy down --sandbox --yes

test: $(READY) lint
	@scripts/prepare test
	@$(MAKE) --no-print-directory --keep-going test-fast test-machines

# Real servers and machines on a busy host are now and then late: tests that failed are tried once
# more, one after the other, and fail if they do again.

# what needs no containers, on all cores; one worker more, as tests of servers wait now and then
FAST := -q -m "not docker and not browser"
test-fast: $(READY)
	$(BIN)/pytest $(FAST) -n $$(( $$(nproc) + 1 )) --dist worksteal || \
	$(BIN)/pytest $(FAST) --last-failed

# machines as containers, and browsers; they wait a lot, so that the rehearsal and all others go side
# by side
MACHINES := -q -m "docker or browser"
test-machines: $(READY)
	$(BIN)/pytest $(MACHINES) -n 2 --dist loadscope --no-loadscope-reorder || \
	$(BIN)/pytest $(MACHINES) --last-failed

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench-fleet: $(READY)
	$(BIN)/python -m hubdeploy.hub.simulate

docs: $(READY)
	$(BIN)/hubdeploy config reference > docs/configuration.md
	$(BIN)/hubdeploy config reference --example > hubdeploy.toml

$(READY): pyproject.toml constraints.txt scripts/prepare
	@scripts/prepare venv

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache tests/artifacts
