# clawwatch. A user needs two of these: `make run` and `make test`.
GO       ?= go
CACHE    ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/clawwatch
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X main.version=$(VERSION)
BUILD     = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
SUDO      = $(if $(filter 0,$(shell id -u)),,sudo)
OTELCOL   = $(CACHE)/otelcol-test
LINTER    = $(CACHE)/golangci-lint-v2.6.0
ARGS     ?=

.PHONY: help build run test unit e2e lint generate generate-check bench deps deps-lint clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST)

build: ## the agent, one static binary
	$(BUILD) -o bin/clawwatch ./cmd/clawwatch

run: build ## the agent with built-in defaults, in the foreground; asks for root
	$(SUDO) ./bin/clawwatch run --console $(ARGS)

test: deps unit e2e ## all the tests; installs what they need; as root for the kernel's and OpenClaw's

unit: $(OTELCOL) ## unit, kernel and delivery tests, with the race detector
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" CI=$(CI) CLAWWATCH_OTELCOL=$(OTELCOL) $(GO) test -race ./...

e2e: $(OTELCOL) ## the real OpenClaw, the real kernel, the real collector
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" CI=$(CI) CLAWWATCH_OTELCOL=$(OTELCOL) $(GO) test -count=1 -timeout 40m -v ./testdata/openclaw/...

bench: build ## what the agent costs: interleaved, with and without it
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" $(GO) run ./testdata/bench -agent bin/clawwatch

lint: $(LINTER) ## formatting, vet, static checks
	$(LINTER) run ./...

generate: deps-generate ## the BPF objects, from collectors/ebpf/bpf
	$(GO) generate ./collectors/ebpf

generate-check: generate ## the committed BPF objects are what the sources give
	git diff --exit-code --stat -- collectors/ebpf

.PHONY: docs
docs: ## the reference pages in docs/, from the code
	$(GO) test ./docs -run TestGeneratedPagesAreCurrent -update
	$(GO) test ./internal/tables -update

$(LINTER):
	GOBIN=$(CACHE) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.0
	mv $(CACHE)/golangci-lint $@

$(OTELCOL): testdata/otelcol/go.mod testdata/otelcol/main.go
	mkdir -p $(CACHE)
	cd testdata/otelcol && CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $@ .

# What the tests need beyond Go: a C compiler for the race detector, npm for
# OpenClaw.
deps:
	@command -v gcc >/dev/null && command -v npm >/dev/null && command -v git >/dev/null || \
	  { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends gcc libc6-dev git npm; }

deps-generate:
	@command -v clang-14 >/dev/null && command -v llvm-strip-14 >/dev/null && test -f /usr/include/bpf/bpf_helpers.h || \
	  { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends clang-14 llvm-14 libbpf-dev; }

clean:
	rm -rf bin dist
