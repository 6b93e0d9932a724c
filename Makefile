# rustup puts cargo here, but only new shells know it.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test bench chaos upgrade-check dashboards dashboards-check dashboards-images alerts-check deploy-check docs-check webhooks-check dist dist-check package-check image-check lint fmt docs ci

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## show it all: a campaign from rows to posts, with a private PostgreSQL and a simulated X; installs what is missing
	@scripts/need
	@scripts/build
	@$(or $(CARGO_TARGET_DIR),target)/debug/crier demo

test: ## run all tests against a private PostgreSQL; installs what is missing (ARGS='-p crier-core' for a part)
	@scripts/need pgbouncer libfaketimeMT.so.1:libfaketime
	@# Most tests wait for processes more than they compute: more of them at once than there are processors.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) > 2 ? $$(nproc) * 2 : 4))} \
	  scripts/with-postgres cargo test --locked $(or $(ARGS),--workspace)

bench: ## measure, with an optimised build; prints figures for docs/PERFORMANCE.md
	@scripts/need
	scripts/with-postgres cargo bench --locked -p crier --bench upload_memory

chaos: ## break everything for 180 s, then judge that nothing is lost or twice (SECONDS=600 for longer, SEED=7 for the same plan, ARGS=--blind to see the judge at work)
	@scripts/need libfaketimeMT.so.1:libfaketime
	cargo test --workspace --locked --bench chaos -- $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

upgrade-check: ## take a running crier from an older commit to this one and back, under load (FROM=commit; builds that one first, minutes)
	@scripts/need
	@scripts/build
	old=$$(tests/upgrade/old $(FROM)) && scripts/with-postgres python3 tests/upgrade/check.py --old $$old \
	  --new $(or $(CARGO_TARGET_DIR),target)/debug/crier $(if $(SEED),--seed $(SEED))

dashboards: ## write Grafana's dashboards anew from deploy/grafana/panels.py
	deploy/grafana/build.py

dashboards-check: ## run each query of the dashboards on a real Prometheus and PostgreSQL, under a load with faults
	@scripts/need
	deploy/grafana/build.py --check
	python=$$(scripts/venv deploy/grafana/requirements.txt) && $$python deploy/grafana/schema.py
	@scripts/build
	prometheus=$$(scripts/tool prometheus) && scripts/with-postgres python3 deploy/grafana/check.py \
	  --crier $(or $(CARGO_TARGET_DIR),target)/debug/crier --prometheus $$prometheus

dashboards-images: ## draw the curves of Overview for the README, under a load of two minutes
	@scripts/need
	@scripts/build
	python=$$(scripts/venv deploy/grafana/requirements-images.txt) && prometheus=$$(scripts/tool prometheus) && \
	  scripts/with-postgres $$python deploy/grafana/check.py --crier $(or $(CARGO_TARGET_DIR),target)/debug/crier \
	  --prometheus $$prometheus --seconds 120 --images docs/img

alerts-check: ## try each alert with promtool: once where it must fire, once where it must not; and whom an Alertmanager calls for it
	promtool=$$(scripts/tool promtool prometheus) && $$promtool check rules deploy/prometheus/rules.yml && \
	  $$promtool test rules deploy/prometheus/rules.test.yml && $$promtool check config --syntax-only deploy/compose/prometheus.yml
	deploy/prometheus/check.py
	deploy/kubernetes/rules.py --check
	amtool=$$(scripts/tool amtool prometheus-alertmanager) && $$amtool check-config deploy/prometheus/alertmanager.yml
	alertmanager=$$(scripts/tool prometheus-alertmanager) && deploy/prometheus/called.py $$alertmanager

docs-check: ## follow README and docs/ as a reader would; read every command, query and link that is named
	@scripts/need
	@scripts/build
	PATH="$$PATH:$$(scripts/pg-bin)" env -u CRIER_TEST_DATABASE_URL scripts/with-postgres python3 tests/docs/check.py --crier $(or $(CARGO_TARGET_DIR),target)/debug/crier $(ARGS)

deploy-check: ## hold image, compose, Kubernetes and systemd files against their linters and schemas
	python=$$(scripts/venv deploy/requirements.txt) && deploy/check $$python

webhooks-check: ## have real deliveries verified by the library of the Standard Webhooks specification
	@scripts/need
	@scripts/build
	python=$$(scripts/venv tests/webhooks/requirements.txt) && \
	  scripts/with-postgres $$python tests/webhooks/check.py $(or $(CARGO_TARGET_DIR),target)/debug/crier

dist: ## build what is handed out into dist/: a Debian package, a tar.gz, SHA256SUMS; takes many minutes
	@scripts/need
	binary=$$(deploy/dist/binary) && deploy/dist/pack $$binary && deploy/dist/check dist $$binary

dist-check: ## pack the binary of the tests as `make dist` packs, and look at what came out
	@scripts/need
	@scripts/build
	PACK_FAST=yes deploy/dist/pack $(or $(CARGO_TARGET_DIR),target)/debug/crier $(or $(CARGO_TARGET_DIR),target)/dist-check
	PACK_FAST=yes deploy/dist/check $(or $(CARGO_TARGET_DIR),target)/dist-check $(or $(CARGO_TARGET_DIR),target)/debug/crier

package-check: ## install, upgrade, remove and purge dist/'s package in a clean Debian; needs root (NO_BOOT=yes where systemd cannot be booted)
	deploy/dist/install dist

image-check: ## carry out the Dockerfile in clean roots and try the image; needs root (BINARY=FILE compiles nothing)
	@scripts/need
	deploy/docker/check.py $(if $(BINARY),--binary $(BINARY))

lint: ## check with clippy; a warning is an error
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format the code
	cargo fmt --all

docs: ## build the documentation; a warning is an error
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

ci: ## run everything that must hold before a change lands
	.ci/run
