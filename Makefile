# rustup puts cargo here, but only new shells know it.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test bench chaos lint fmt docs ci

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## show it all: a campaign from rows to posts, with a private PostgreSQL and a simulated X; installs what is missing
	@scripts/need
	cargo build --locked -p crier
	@$(or $(CARGO_TARGET_DIR),target)/debug/crier demo

test: ## run all tests against a private PostgreSQL; installs what is missing (ARGS='-p crier-core' for a part)
	@scripts/need
	scripts/with-postgres cargo test --locked $(or $(ARGS),--workspace)

bench: ## measure, with an optimised build; prints figures for docs/PERFORMANCE.md
	@scripts/need
	scripts/with-postgres cargo bench --locked -p crier --bench upload_memory

chaos: ## break everything for 180 s, then judge that nothing is lost or twice (SECONDS=600 for longer, SEED=7 for the same plan)
	@scripts/need
	cargo test --locked -p crier --bench chaos -- $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: ## check with clippy; a warning is an error
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format the code
	cargo fmt --all

docs: ## build the documentation; a warning is an error
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

ci: ## run everything that must hold before a change lands
	.ci/run
