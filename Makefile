# make demo   the story, told against the emulator (needs Go, git and make)
# make test   everything CI checks; installs what it needs when it is root
# make fuzz   every fuzz target, FUZZTIME each (default 10m), logged to fuzz.log
# make interop  clients of others (MSAL, roadtx, go-oidc, curl, browsers) against
#             the emulated tenant; installs them under internal/interop
# make bench  the benchmarks, with peers in internal/benchpeers

GO         ?= go
FUZZTIME   ?= 10m
MODULES    := $(shell git ls-files '*go.mod' | grep -v '^tools/' | xargs -n1 dirname)
STATIC     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck

.PHONY: demo test setup-demo setup-test check race nocgo cross fuzz bench interop

demo: setup-demo
	@$(GO) run ./examples/quickstart

setup-demo:
	@./scripts/install swtpm 2>/dev/null || echo 'No software TPM here (to have one: apt-get install swtpm); the demo runs with software keys.'

test: setup-test check race nocgo cross

setup-test:
	./scripts/install swtpm gcc libc6-dev libssl-dev openssl tpm2-openssl python3 python3-cryptography krb5-user zbar-tools git chromium dbus libglib2.0-bin

check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	@for m in $(MODULES); do echo "vet $$m"; (cd $$m && $(GO) vet ./... && $(STATIC) ./...) || exit 1; done
	$(GO) vet -tags tpmsimulator ./...

race: export PRTBROKER_REQUIRE_TPM = 1
race: export PRTBROKER_REQUIRE_TOOLS = 1
race:
	@for m in $(MODULES); do echo "test $$m"; (cd $$m && CGO_ENABLED=1 $(GO) test -race -timeout 20m -tags tpmsimulator ./...) || exit 1; done

nocgo: export PRTBROKER_REQUIRE_TPM = 1
nocgo: export PRTBROKER_REQUIRE_TOOLS = 1
nocgo:
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test -timeout 20m ./...

cross:
	@for t in windows/amd64 darwin/arm64 linux/arm64; do echo "build $$t"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) build ./... || exit 1; done

fuzz:
	./scripts/fuzz $(FUZZTIME)

bench:
	@for m in $(MODULES); do (cd $$m && $(GO) test -run '^$$' -bench . -benchmem ./...) || exit 1; done

interop: export PRTBROKER_INTEROP = 1
interop:
	./internal/interop/setup
	cd internal/interop && $(GO) test -count=1 -parallel 6 -timeout 15m
