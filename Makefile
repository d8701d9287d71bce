.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -ldflags "-X main.version=$(VERSION)"
PLUGINS  := rag persist orchestrator cm
EXAMPLES := echo probe
GOROOT   := $(shell go env GOROOT)
# The packages that have tests on data which the repository does not have.
ACCEPT   := ./plugins/rag/internal/index ./plugins/orchestrator/dsl ./cmd/fnhost

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z\/-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/fnhost, bin/plugins/* and bin/examples/*
	go build $(LDFLAGS) -o bin/fnhost ./cmd/fnhost
	go build $(LDFLAGS) -o bin/plugins/ $(PLUGINS:%=./plugins/%)
	go build $(LDFLAGS) -o bin/examples/ $(EXAMPLES:%=./examples/%)

.PHONY: run
run: build ## build all, run the main job end to end, and go on serving (REDIS_URL=... for a real Redis)
	GOROOT=$(GOROOT) bin/fnhost dev --plugins bin/plugins --demo

.PHONY: setup
setup: ## install what the tests need and the machine lacks (redis-server)
	@.ci/setup

.PHONY: test
test: setup format ## run all tests, with the race detector
	go test -race -timeout 10m ./...
	cd bench && go test -race -short -timeout 5m ./conformance && go test -short -timeout 5m -run 'TestPubSub$$/TestReconnect' ./conformance
	cd bench && go test -short -timeout 5m .

.PHONY: accept
accept: setup build ## run the acceptance on data that is not in the repository: make accept TESTDATA=DIR
	@test -d "$(TESTDATA)" || { echo 'make accept needs TESTDATA=DIR; docs/acceptance.md says what is in it' >&2; exit 2; }
	TESTDATA="$(abspath $(TESTDATA))" go test -tags accept -count=1 -timeout 15m -v -run '^TestAccept' $(ACCEPT)

.PHONY: soak
soak: setup ## end and stall hosts, plugins and Redis at random under load: make soak [SEED=1 HOSTS=4 MESSAGES=20000 MINUTES=5]
	go test -count=1 -timeout 0 -v ./cmd/fnhost/internal/soak -args -soak.long -soak.seed=$(or $(SEED),0) \
		-soak.hosts=$(or $(HOSTS),4) -soak.messages=$(or $(MESSAGES),20000) -soak.for=$(or $(MINUTES),5)m -soak.lease=$(or $(LEASE),3s)

.PHONY: model
model: setup ## explore the model of the protocol whole, and compare all its states with the scripts (10 minutes)
	FNHOST_MODEL=full FNHOST_TABLE=full go test -count=1 -timeout 30m -v -run 'Protocol|Mutant|Table' ./host/hosttest/model ./host/stream

.PHONY: crash
crash: setup ## break hosts, connections and servers at every point there is (20 minutes)
	FNHOST_CRASH=full go test -count=1 -timeout 60m -v ./host/hosttest/crash

.PHONY: conformance
conformance: setup ## run the Pub/Sub suite of watermill at length over the message path (10 minutes)
	cd bench && go test -race -count=1 -timeout 30m ./conformance && go test -count=1 -timeout 30m ./conformance
	cd bench && go test -tags stress -count=1 -timeout 60m ./conformance

.PHONY: bench
bench: ## measure fnhost beside its peers (an hour; needs a quiet machine) and write docs/performance.md
	cd bench && go run . -o ../docs/performance.md -json ../bin/performance.json

.PHONY: bench-check
bench-check: setup ## say whether fnhost has become slower beside the floor than bench/baseline.json says (3 minutes; UPDATE=1 writes it)
	cd bench && go run . check $(if $(UPDATE),-update)

.PHONY: lint
lint: format ## run the linters
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: generate
generate: ## write all generated code and documents anew
	go generate ./...

.PHONY: format
format:
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w on these' >&2; exit 1; }

.PHONY: verify
verify: format generate ## check that generated code is current, and that it compiles for darwin
	git diff --exit-code
	GOOS=darwin GOARCH=arm64 go vet ./...

.PHONY: clean
clean: ## remove what was built, and the state of `make run`
	rm -rf bin .fnhost
