# make demo   the story, told against the emulator (needs Go and make)
# make test   everything CI checks; installs what it needs when it is root
# make quick  what to run while you work: formatting, vet and every test in its
#             short form; a few minutes
# make fuzz   every fuzz target, FUZZTIME each (default 10m), side by side; what had its
#             time on this commit is not run again (fuzz.tsv). ONLY=prt runs some
# make interop  clients of others (MSAL, roadtx, go-oidc, curl, browsers) against
#             the emulated tenant; installs them under internal/interop.
#             INTEROP=all adds those that take long to install (libhimmelblau,
#             MSAL for Java, azure-identity, the Azure CLI, kubelogin, oauth2-proxy)
# make bench  the benchmarks, beside peers: writes BENCHMARKS.md, its charts and
#             the table in README.md, and says what changed (benchstat). ONLY=silent
#             runs one section; COUNT=6 each benchmark six times
# make mutate  one operator at a time is changed, or one check removed, in the packages
#             that guard a sign-in, and tests must notice, or
#             internal/mutants/equivalent.txt says why they cannot. ONLY=./prt changes
#             that package; ONLY='-quick ./prt' with all changes in one binary
# make proof  the long forms of the tests that nothing is lost, leaked or left
#             hanging: writes docs/proof.md and the tables in README.md and
#             SECURITY.md. ONLY=faults runs one class; BUDGET=10m is the time for each
# make supply  what the programs are made of: known vulnerabilities, go.sum, licences,
#             bills of materials (into sbom/), and two builds that must be the same
#             bytes. ONLY=licences makes one of these checks

GO         ?= go
FUZZTIME   ?= 10m
COUNT      ?= 1
MODULES    := $(shell find . -name node_modules -prune -o -path './.*' -prune -o -path ./tools -prune -o -name go.mod -exec dirname {} \; | sort)
STATIC     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck

# What a machine of 64 bits can run as 32: packages that need neither a TPM nor
# a program beside them.
PURE       := ./claims/... ./policy/... ./prt/... ./broker/internal/... ./internal/aadsts ./internal/clock ./internal/kdf ./internal/secret ./internal/strictjson

# A tree without .git, or one that git does not trust, builds all the same.
export GOFLAGS := -buildvcs=false $(GOFLAGS)

ifeq ($(filter .,$(MODULES)),)
$(error no go.mod found: run make at the root of the module)
endif

# What is held by its own tests, without what stands on it.
ROOMS      := ./broker/internal/... ./broker/entratest/internal/...

.PHONY: demo test quick setup-demo setup-test check format race nocgo rooms cross fuzz bench mutate proof supply interop

demo: setup-demo
	@$(GO) run ./examples/quickstart

setup-demo:
	@./scripts/install swtpm 2>/dev/null || echo 'No software TPM here (to have one: apt-get install swtpm); the demo runs with software keys.'

test: setup-test check race nocgo rooms cross

setup-test:
	./scripts/install swtpm gcc libc6-dev libssl-dev openssl tpm2-openssl python3 python3-cryptography krb5-user zbar-tools git chromium dbus libglib2.0-bin
	command -v kubectl >/dev/null || ./scripts/install kubernetes-client

quick: format
	$(GO) vet ./...
	$(GO) test -short ./...

format:
	@unformatted=$$(gofmt -l $$(find . -name node_modules -prune -o -path './.*' -prune -o -name '*.go' -print)) || exit 1; \
	  test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }

check: format
	@for m in $(MODULES); do echo "vet $$m"; (cd $$m && $(GO) vet ./... && $(STATIC) ./...) || exit 1; done
	$(GO) vet -tags tpmsimulator ./tpm/tpmtest

# check has vetted everything: the tests are run without that.
race: export PRTBROKER_REQUIRE_TPM = 1
race: export PRTBROKER_LONG = 1
race: export PRTBROKER_REQUIRE_TOOLS = 1
race:
	@for m in $(MODULES); do echo "test $$m"; (cd $$m && CGO_ENABLED=1 $(GO) test -race -vet=off -timeout 40m -tags tpmsimulator ./...) || exit 1; done

# Without cgo, net and os/user are other code: what imports them is tested again,
# apart from the rooms, which are tested without cgo anyway.
nocgo: export PRTBROKER_REQUIRE_TPM = 1
nocgo: export PRTBROKER_REQUIRE_TOOLS = 1
nocgo:
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test -short -vet=off -timeout 20m $$($(GO) list -f '{{$$p := .ImportPath}}{{range .Imports}}{{if or (eq . "net") (eq . "os/user")}}{{println $$p}}{{end}}{{end}}' ./... | grep -vxF "$$($(GO) list $(ROOMS))")

# Each room is covered by its own tests, without cgo: at least 70 % of it.
rooms: export PRTBROKER_REQUIRE_TPM = 1
rooms: export PRTBROKER_REQUIRE_TOOLS = 1
rooms:
	CGO_ENABLED=0 ./scripts/coverage 70 $(ROOMS)

cross:
	@for t in windows/amd64 darwin/arm64 linux/arm64; do echo "build $$t"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) build ./... || exit 1; done
	@for t in linux/386 linux/arm linux/riscv64 freebsd/amd64; do echo "vet $$t"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) vet ./... || exit 1; done
ifeq ($(shell $(GO) env GOHOSTOS GOHOSTARCH | tr '\n' /),linux/amd64/)
	GOARCH=386 CGO_ENABLED=0 $(GO) test -short -vet=off $(PURE)
endif

fuzz:
	$(GO) run ./internal/fuzz -time $(FUZZTIME) -only '$(ONLY)'

bench:
	@./scripts/install swtpm 2>/dev/null || true
	$(GO) run ./internal/bench -only '$(ONLY)' -count $(COUNT)

mutate:
	$(GO) run ./internal/mutants $(ONLY)

proof:
	$(GO) run ./internal/proof -only '$(ONLY)' $(if $(BUDGET),-budget $(BUDGET))

supply:
	$(GO) run ./internal/supply -only '$(ONLY)'

interop: export PRTBROKER_INTEROP = 1
interop:
	./internal/interop/setup
	cd internal/interop && $(GO) test -count=1 -parallel 6 -timeout 20m
