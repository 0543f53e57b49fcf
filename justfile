# The recipes of the repository. `.ci/run`, the workflows and people run the same ones; `just` alone lists them.

export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")

_list:
    @just --list --unsorted

# Everything on this machine: Kafka, ClickHouse, all services
up *args:
    cargo run --release -- up {{ args }}

# Format the code
fmt:
    cargo fmt --all

# Format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# English and width of comments (STYLE.md)
english *args:
    tests/english.py {{ args }}

# What takes no engine: format, lints, English
check: english lint

# Documentation builds, without a broken link
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

# Tests, with what they need; `just test -p hookline-dedupe`, `just test -p hookline-tests kills`
test *args:
    tests/run {{ args }}

# Rules, dashboards, compose file, runbooks
deploy-check *args:
    deploy/check {{ args }}

# The Helm chart: rendered, scored, validated; `just chart --cluster` installs it on a real Kubernetes API server
chart *args:
    deploy/helm/check {{ args }}

# Tools of the checks under deploy/, once, into the cache; `just tools --cluster` adds the API server
tools *args:
    deploy/helm/tools {{ args }}

# A step of a release: check, notes, binary, chart, sbom, image TAG, checksums, all
release *args:
    deploy/release/run {{ args }}

# The data dictionary from the declarations of the records
data-dictionary:
    docs/generate-data-dictionary.sh

# The reference of the configuration and its schema for editors, from the declarations of the options
configuration:
    HOOKLINE_TEST_WRITE=1 cargo test --quiet -p hookline-config --test load published

# The page of commands from the help texts that tests hold
commands:
    docs/commands.py

# Measure what an event costs and write the figures into docs/benchmarks.md; `just bench --list` says what there is
bench *args:
    docs/bench.py {{ args }}

# Instructions of the hot cores against what is written down (valgrind); `--update`, `--release`
instructions *args:
    tests/instructions {{ args }}

# Time to ready and memory of a binary
measure *args:
    docs/measure.sh {{ args }}

# Look for inputs that break a boundary, for ten minutes (a nightly compiler and cargo-fuzz)
fuzz target="adapters" seconds="600":
    mkdir -p fuzz/corpus/{{ target }}
    cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- -max_total_time={{ seconds }}

# Licences, advisories, bans (cargo-deny)
deny:
    cargo deny check

# Everything a change has to pass
ci:
    .ci/run

# The long ones: 300 kills of the window, 4,000 cases a property, a whole minute without Kafka
nightly:
    HOOKLINE_TEST_WINDOW_KILLS=300 PROPTEST_CASES=4000 HOOKLINE_TEST_OUTAGE_SECONDS=60 tests/run
