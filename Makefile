# rustup puts cargo here, but only new shells know it.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.DEFAULT_GOAL := help
.PHONY: help test lint fmt docs ci

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

test: ## run all tests against a private PostgreSQL; installs what is missing (ARGS='-p crier-core' for a part)
	@scripts/need
	scripts/with-postgres cargo test --locked $(or $(ARGS),--workspace)

lint: ## check with clippy; a warning is an error
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format the code
	cargo fmt --all

docs: ## build the documentation; a warning is an error
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

ci: ## run everything that must hold before a change lands
	.ci/run
