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

.PHONY: help build run test unit e2e lint generate generate-check bench bench-turns deps deps-lint clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST)

build: ## the agent, one static binary
	$(BUILD) -o bin/clawwatch ./cmd/clawwatch

run: build ## the agent with built-in defaults, in the foreground; asks for root
	$(SUDO) ./bin/clawwatch run --console $(ARGS)

test: deps unit e2e ## all the tests; installs what they need; as root for the kernel's and OpenClaw's

unit: $(OTELCOL) ## unit, kernel and delivery tests, with the race detector
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" CI=$(CI) CLAWWATCH_OTELCOL=$(OTELCOL) $(GO) test -race -p 1 ./... ./testdata/bench

e2e: $(OTELCOL) ## the real OpenClaw, the real kernel, the real collector
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" CI=$(CI) CLAWWATCH_OTELCOL=$(OTELCOL) $(GO) test -count=1 -timeout 40m -v ./testdata/openclaw/...

bench: build ## what the agent costs, with and without it; ARGS=-short takes minutes and not an hour
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" $(GO) run ./testdata/bench -agent bin/clawwatch $(ARGS)

bench-turns: ## how long turns of the real OpenClaw take beside the agent; ROUNDS=7 takes twenty minutes
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" CLAWWATCH_TURNS=$(or $(ROUNDS),7) $(GO) test -count=1 -timeout 90m -v -run '^TestTurns$$' ./testdata/openclaw

lint: $(LINTER) ## formatting, vet, static checks
	$(LINTER) run ./...

generate: deps-generate ## the BPF objects, from collectors/ebpf/bpf
	$(GO) generate ./collectors/ebpf

generate-check: generate ## the committed BPF objects are what the sources give
	git diff --exit-code --stat -- collectors/ebpf

# The sensor on other kernels: Debian's for clouds, booted by QEMU. They stay in
# the cache; they come from where apt gets this host's packages, if that is Debian.
KERNELS  = $(CACHE)/kernels
RELEASES = bullseye bookworm trixie
MIRROR  ?= $(or $(shell apt-get indextargets --format '$$(ORIGIN) $$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed -n 's/^Debian //p' | head -n 1),http://deb.debian.org/debian)

.PHONY: test-kernels deps-kernels
test-kernels: deps-kernels $(RELEASES:%=$(KERNELS)/amd64/%/vmlinuz) ## the sensor on Linux 5.10, 6.1 and 6.12, in virtual machines
	CI=$(CI) CLAWWATCH_KERNELS=$(KERNELS) $(GO) test -count=1 -timeout 30m -v ./testdata/kernels

$(KERNELS)/%/vmlinuz:
	testdata/kernels/fetch $(MIRROR) $(notdir $*) $(patsubst %/,%,$(dir $*)) $(@D)

deps-kernels:
	@command -v qemu-system-x86_64 >/dev/null || \
	  { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends qemu-system-x86; }

.PHONY: docs
docs: ## the reference pages in docs/, from the code
	$(GO) test ./docs -run TestGeneratedPagesAreCurrent -update
	$(GO) test ./internal/tables -update
	$(GO) test ./collectors/doors -update

$(LINTER):
	GOBIN=$(CACHE) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.0
	mv $(CACHE)/golangci-lint $@

$(OTELCOL): testdata/otelcol/go.mod testdata/otelcol/main.go
	mkdir -p $(CACHE)
	cd testdata/otelcol && CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $@ .

# What the tests need beyond Go: a C compiler for the race detector, npm for
# OpenClaw, and what the skills of its scenarios run.
deps:
	@(for p in gcc npm git curl jq tmux python3 pkill; do command -v $$p >/dev/null || exit 1; done) || \
	  { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends gcc libc6-dev git npm curl jq tmux python3 procps; }

deps-generate:
	@command -v clang-14 >/dev/null && command -v llvm-strip-14 >/dev/null && test -f /usr/include/bpf/bpf_helpers.h || \
	  { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends clang-14 llvm-14 libbpf-dev; }

clean:
	rm -rf bin dist

# Packages. PACKAGE_VERSION begins with a digit; ~ sorts before the release.
NFPM             = $(CACHE)/nfpm-v2.43.0
ROOTFS           = $(CACHE)/debian-bookworm-services
DIST            ?= dist
ARCHES          ?= amd64 arm64
PACKAGE_VERSION ?= $(shell git describe --tags --exact-match 2>/dev/null | sed 's/^v//' | grep . || git log -1 --date=format:%Y%m%d%H%M --format='0.1.0~%cd.%h')
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)

.PHONY: packages sbom test-packages deps-packages

packages: $(NFPM) $(ARCHES:%=$(DIST)/%.stage) ## .deb, .rpm and SBOM for amd64 and arm64, in dist/
	for arch in $(ARCHES); do for kind in deb rpm; do \
	  ARCH=$$arch PACKAGE_VERSION=$(PACKAGE_VERSION) $(NFPM) package -f $(DIST)/stage/$$arch/nfpm.yaml -p $$kind -t $(DIST) || exit 1; \
	done; done
	cd $(DIST) && sha256sum *.deb *.rpm *.spdx.json >SHA256SUMS

sbom: $(ARCHES:%=$(DIST)/%.stage) ## what is linked into the packages, as SPDX

# One architecture's files, ready to be packed; made each time, as the version is
# in them. nfpm does not replace variables in all places, so sed does.
.PHONY: always
always:
$(DIST)/%.stage: build always
	rm -rf $(DIST)/stage/$* && mkdir -p $(DIST)/stage/$*/man $(DIST)/stage/$*/completions $(DIST)/stage/$*/doc/rules $(DIST)/stage/$*/share
	GOARCH=$* CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(DIST)/stage/$*/clawwatch ./cmd/clawwatch
	bin/clawwatch gen man $(DIST)/stage/$*/man
	gzip -9n $(DIST)/stage/$*/man/*
	bin/clawwatch gen completions $(DIST)/stage/$*/completions
	cp rules/builtin/*.yaml $(DIST)/stage/$*/doc/rules/
	cp internal/policy/default.yaml $(DIST)/stage/$*/doc/policy.default.yaml
	cp docs/known-limitations.md $(DIST)/stage/$*/doc/
	cp packaging/extensions.load $(DIST)/stage/$*/share/
	if [ -d packaging/osquery ]; then cp -r packaging/osquery $(DIST)/stage/$*/share/; fi
	$(GO) run ./packaging/stage -binary $(DIST)/stage/$*/clawwatch -version '$(PACKAGE_VERSION)' -epoch $(SOURCE_DATE_EPOCH) \
	  -notices $(DIST)/stage/$*/doc/THIRD-PARTY-NOTICES.gz -sbom '$(DIST)/clawwatch_$(PACKAGE_VERSION)_$*.spdx.json'
	sed -e 's/@VERSION@/$(PACKAGE_VERSION)/' -e "s/@DATE@/$$(date -u -d @$(SOURCE_DATE_EPOCH) +%FT%TZ)/" packaging/changelog.yaml >$(DIST)/stage/$*/changelog.yaml
	sed -e 's|$${STAGE}|$(DIST)/stage/$*|' nfpm.yaml >$(DIST)/stage/$*/nfpm.yaml
	find $(DIST)/stage/$* -type d -exec chmod 0755 {} + && find $(DIST)/stage/$*/man $(DIST)/stage/$*/doc $(DIST)/stage/$*/share $(DIST)/stage/$*/completions -type f -exec chmod 0644 {} +

# Installed, upgraded and removed in a Debian that systemd boots in a container,
# and in an RPM database. The root file system stays in the cache.
test-packages: deps-packages $(ROOTFS) $(NFPM) ## the packages: contents, service, alert, upgrade, removal
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" CI=$(CI) CLAWWATCH_ROOTFS=$(ROOTFS) CLAWWATCH_NFPM=$(NFPM) $(GO) test -count=1 -timeout 20m -v ./testdata/packages

deps-packages:
	@command -v debootstrap >/dev/null && command -v systemd-nspawn >/dev/null && command -v rpm >/dev/null && command -v lintian >/dev/null && command -v rpmlint >/dev/null && command -v gcc >/dev/null || \
	  { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends debootstrap systemd-container rpm lintian rpmlint gcc libc6-dev; }

$(NFPM):
	GOBIN=$(CACHE) $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
	mv $(CACHE)/nfpm $@

$(ROOTFS):
	$(SUDO) rm -rf $@.new
	$(SUDO) debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,cron,at bookworm $@.new
	$(SUDO) mv $@.new $@
