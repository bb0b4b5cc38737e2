# The commands of daily work. `make test` is the one that must pass.

CARGO ?= cargo
VENV := $(CURDIR)/.venv
VENV_STAMP := $(VENV)/.installed
SCRIPTS := .ci/run tests/venv.sh benches/daemon.sh benches/outage.sh $(wildcard deploy/*.sh deploy/*/*.sh)

.PHONY: test model chaos fuzz lint fmt clippy doc shellcheck demo bench bench-peer clean-venv

test: $(VENV_STAMP)
	SLUICEGATE_TEST_VENV=$(VENV) $(CARGO) test --locked

# The journal against its model in more runs than `make test` has. For example: make model CASES=20000
CASES ?= 1500
model:
	PROPTEST_CASES=$(CASES) $(CARGO) test --locked --lib disk::model

# The crash test for longer: 40 rounds of 25 kills. For example: make chaos ROUNDS=4
ROUNDS ?= 40
chaos:
	SLUICEGATE_CHAOS_ROUNDS=$(ROUNDS) $(CARGO) test --locked --test it \
		nothing_that_was_accepted_is_lost -- --nocapture

# Mutated filters and events for longer than `make test`. For example: make fuzz CASES=1000000. With
# cargo-fuzz and a nightly compiler, fuzz/ has targets for a coverage-guided fuzzer.
CASES ?= 100000
fuzz:
	SLUICEGATE_FUZZ_CASES=$(CASES) $(CARGO) test --release --locked --test it no_mutated_filter

# The environment is made anew when what it holds changes, and is otherwise left alone.
$(VENV_STAMP): tests/requirements.txt tests/venv.sh tests/bootstrap_pip.py
	@echo "making .venv for the services that the tests use (once)"
	@tests/venv.sh $(VENV) tests/requirements.txt
	@touch $@

lint: fmt clippy doc shellcheck

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps

shellcheck: $(VENV_STAMP)
	$(VENV)/bin/shellcheck $(SCRIPTS)

# For example: make demo ARGS='--rate 500 --duration 30s'
demo:
	$(CARGO) run --release --locked --quiet -- demo $(ARGS)

bench:
	$(CARGO) bench --locked $(ARGS)

# Our filters beside another engine; it has a crate of its own, with that engine in it.
bench-peer:
	cd benches/peer && $(CARGO) run --release --locked

clean-venv:
	rm -rf $(VENV)
