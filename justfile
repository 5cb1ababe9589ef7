# What a developer types. Everything is a script under tests/, so that nothing depends on just.

# List the recipes.
default:
    @just --list

# A worker with Python and Rust tasks, from nothing to results.
demo:
    tests/demo/run

# Tasks per second, against Celery's own worker.
bench *arguments:
    tests/bench/run {{ arguments }}

# All tests; arguments go to `cargo test`.
test *arguments:
    tests/run {{ arguments }}

# All tests on a new machine: installs what is missing.
ci:
    .ci/run

# Formatting, lints, documentation.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

# The same scenarios under Celery's worker and under this one; arguments go to pytest.
differential *arguments:
    tests/differential/run {{ arguments }}

# Sentry, OpenTelemetry, ddtrace, Django, Flask and others under both workers; arguments go to pytest.
ecosystem *arguments:
    tests/ecosystem/run {{ arguments }}

# The wheel, and the smoke suite with it in each Python; arguments go to pytest.
wheel *arguments:
    tests/wheel/run {{ arguments }}

# Capture the protocol fixtures anew from Celery itself.
fixtures *arguments:
    tests/fixtures/run {{ arguments }}

# Celery's own integration suite, against this worker.
upstream *arguments:
    tests/upstream/run {{ arguments }}
