# Beskar7. "make help" lists what can be done. Needs Go (see go.mod), make and git; everything else is built from Go modules.

VERSION ?= v0.1.0
# Written out in full: clusterctl refuses an image name that leaves the registry to a default.
IMAGE   ?= docker.io/beskar7/controller:$(VERSION)
ARCH    ?= $(shell go env GOARCH)

# Tools are built once into bin/, which git ignores. A stamp file carries the version, so that a new pin builds anew.
BIN                    := $(CURDIR)/bin
CONTROLLER_GEN_VERSION := v0.21.0
KUSTOMIZE_VERSION      := v5.8.1
GOLANGCI_LINT_VERSION  := v2.12.2
CONTROLLER_GEN         := $(BIN)/controller-gen
KUSTOMIZE              := $(BIN)/kustomize
GOLANGCI_LINT          := $(BIN)/golangci-lint
CONTROLLER_GEN_STAMP   := $(BIN)/.controller-gen-$(CONTROLLER_GEN_VERSION)
KUSTOMIZE_STAMP        := $(BIN)/.kustomize-$(KUSTOMIZE_VERSION)
GOLANGCI_LINT_STAMP    := $(BIN)/.golangci-lint-$(GOLANGCI_LINT_VERSION)

# How the demo claims hosts: optimistic, or leader for an elected arbiter.
DEMO_MODE ?= optimistic

RELEASE := out/release/infrastructure-beskar7/$(VERSION)
# What "make generate manifests" writes; "make verify" wants it committed as it is.
GENERATED := api config/crd/bases config/rbac/role.yaml config/webhook/manifests.yaml config/helm config/samples docs

# The product is static. Tests and demo leave the choice to Go, so that they share what is compiled with a plain `go test`.
STATIC  := CGO_ENABLED=0
LDFLAGS := -s -w -X main.version=$(VERSION)

# A failing kustomize must fail the release, although its output goes through a pipe.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help generate manifests verify format lint test test-race build run release image binaries demo demo-up demo-down e2e e2e-machine e2e-machine-all machine-stories machine-boots machine-image clean test-alerts record-metrics conformance scale fleet model crash crash-manager mutants bench rights

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Code

generate: $(CONTROLLER_GEN_STAMP) ## Write deepcopy functions and generated documentation
	$(CONTROLLER_GEN) object paths=./api/...
	go run ./pkg/config/internal/reference docs/configuration.md
	go run ./pkg/metrics/internal/reference docs/metrics.md

manifests: $(CONTROLLER_GEN_STAMP) ## Write CRDs, the manager's role, the webhook configuration and the Helm chart
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=system-manager-role webhook paths=./controllers/... paths=./pkg/lease/... \
		output:rbac:dir=config/rbac output:webhook:dir=config/webhook
	cd hack/helm && go run .

verify: generate manifests ## Check that generated files, format, vet and the rules of the house hold
	@git diff --exit-code -- $(GENERATED) || { echo "verify: generated files are stale: commit what make generate manifests wrote"; exit 1; }
	@stray=$$(git ls-files --others --exclude-standard -- $(GENERATED)); \
		if [ -n "$$stray" ]; then echo "verify: not committed: $$stray"; exit 1; fi
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		if [ -n "$$unformatted" ]; then echo "verify: run gofmt -w on: $$unformatted"; exit 1; fi
	go vet ./...
	cd test && go vet ./... && go vet -tags e2e,e2emachine ./...
	cd hack/image && go vet ./...
	cd hack/helm && go vet ./...
	cd test && go test -count=1 ./house

format: ## Format the Go code
	gofmt -w $$(git ls-files '*.go')

lint: $(GOLANGCI_LINT_STAMP) ## Run the linters of .golangci.yml
	$(GOLANGCI_LINT) run ./...
	cd test && $(GOLANGCI_LINT) run --build-tags e2e,e2emachine ./...
	cd hack/image && $(GOLANGCI_LINT) run ./...
	cd hack/helm && $(GOLANGCI_LINT) run ./...

##@ Tests

# The test module reads files of the other module, which Go's test cache does not see: hence -count=1.
test: release binaries ## Run all tests but the end-to-end ones
	@echo "test: the product's packages (the first time, compiling Kubernetes' and Cluster API's libraries takes minutes)"
	go test ./...
	cd hack/image && go test ./...
	cd hack/helm && go test -count=1 ./...
	@echo "test: emulator, workload clusters, management cluster, and the product among them"
	cd test && go test -count=1 -timeout 30m ./...

test-race: ## Run the product's tests with the race detector (needs a C compiler)
	go test -race ./...

test-alerts: ## Run the unit tests of the alerts with promtool, and put the dashboard's queries to a recorded run (minutes, the first time)
	cd hack/monitoring && go test -count=1 ./...

record-metrics: release binaries ## Record the metrics of a demo anew, for test-alerts
	cd test && go run ./demo -mode leader -replicas 2
	cd hack/monitoring && go run ./record ../../docs/metrics.md ../../out/demo/scrapes testdata/run.txt

binaries: ## Build etcd, Kubernetes and Cluster API from their modules, for the tests (about 10 minutes the first time)
	@cd test && go run ./controlplane/cmd/binaries

demo: release binaries ## Build, scale and delete a cluster on emulated servers
	@echo "demo: compiling (minutes, the first time)"
	cd test && go run ./demo -mode $(DEMO_MODE)

demo-up: release binaries ## Start the demo, leave it running, and print how to look around
	cd test && go run ./demo -mode $(DEMO_MODE) up

demo-down: ## End what demo-up started
	cd test && go run ./demo down

e2e: release binaries ## Run the end-to-end tests, among them those of Cluster API
	cd test && go test -count=1 -tags e2e -timeout 120m -v ./e2e/...
	cd test && go run ./rights

machine-image: ## Build the live image for real machines in .cache/machine, from Debian packages (minutes, the first time)
	@test/machine/image/packages.sh
	@nice -n 5 test/machine/image/build.sh .cache/machine

# The machines are emulated in software, instruction by instruction: they yield to whatever else this computer does.
e2e-machine: machine-image release binaries ## One story of a real machine (QEMU) that boots through virtual media (minutes)
	cd test && nice -n 5 go test -count=1 -tags e2e,e2emachine -timeout 60m -v -run '^TestMachineLive$$' ./e2e

# Two at a time: one machine does not keep two processors busy.
e2e-machine-all: machine-image release binaries ## All stories of real machines: firmwares, slots, install, failures (under 40 minutes)
	@$(MAKE) --no-print-directory -j 2 machine-stories machine-boots

machine-stories: # with manager and Cluster API
	cd test && nice -n 5 go test -count=1 -tags e2e,e2emachine -timeout 90m -v -run '^TestMachine' ./e2e

machine-boots: # a BMC, a media server, a machine
	cd test && nice -n 5 go test -count=1 -tags e2emachine -timeout 60m -v ./machine

conformance: ## Try the driver on every persona and fault of the emulator, and write docs/hardware.md
	cd test && go run ./conformance

rights: ## Compare what our roles grant with what the audit logs of the last demo and e2e show that the manager used
	cd test && go run ./rights

scale: binaries ## Measure claims in both modes, and an idle fleet, on the real API server, against test/scale/rangespec.yaml (about 25 minutes)
	rm -f out/scale/claims.json
	cd test && go run ./scale claims && go run ./scale fleet

fleet: ## Drive 1,000 emulated BMCs through gate and driver, and compare with what the gate promises (minutes)
	cd test && go run ./fleet

model: ## Run the models of claims and of the BMC gate at length (minutes)
	go test -count=1 ./pkg/coordinator/bmcqueue -run TestModel -model.steps 1000000
	BESKAR7_SCHEDULES=10000 go test -count=1 -timeout 30m -v -run TestNoInterleavingBreaksOwnership ./pkg/coordinator

crash: ## Cut the life of a machine at every request, and a sample of other lives: moves, deletions, two faults (about 20 minutes)
	cd test && go test -count=1 -timeout 60m -v -run '^TestEveryCut$$' ./crash -args -lives=long

crash-manager: binaries ## Kill the real manager at each named call of a machine's life, on the real API server (10 minutes)
	cd test && go test -count=1 -tags e2e -timeout 30m -v -run '^TestName' ./e2e

mutants: ## Take each guard of the claims away once, and see a test fail for it
	cd test && go run ./mutants

bench: ## Budgets and benchmarks: choosing a host, a look at one, the BMC gate, media, requests per host
	go test -count=1 -tags budget -run TestBudget -v ./pkg/hostselection ./pkg/bootmedia ./controllers
	go test -run '^$$' -bench . -benchtime 200ms ./pkg/hostselection ./pkg/coordinator/bmcqueue ./pkg/bootmedia
	cd test && go test -count=1 -v -run Budget ./integration

##@ Product

build: ## Build bin/manager
	$(STATIC) go build -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/manager .

run: build ## Run the manager against the cluster of the current kubeconfig
	bin/manager --leader-elect=false

# Written beside and moved into place, so that whoever reads it never sees half a release.
release: $(KUSTOMIZE_STAMP) ## Write out/release, a local clusterctl repository
	@mkdir -p $(dir $(RELEASE)) && new=$$(mktemp -d out/release.XXXXXX) && chmod 755 $$new && \
	$(KUSTOMIZE) build config/clusterctl | sed 's|image: beskar7/controller:.*|image: $(IMAGE)|' >$$new/infrastructure-components.yaml && \
	$(KUSTOMIZE) build --load-restrictor LoadRestrictionsNone templates/kube-vip >$$new/cluster-template-kube-vip.yaml && \
	cp metadata.yaml templates/cluster-template.yaml templates/cluster-template-topology.yaml templates/clusterclass-beskar7.yaml $$new/ && \
	rm -rf $(RELEASE) && mv $$new $(RELEASE)
	@echo "release: $(RELEASE)"

image: ## Write out/image, a container image, without a daemon (ARCH=amd64 or arm64)
	$(STATIC) GOOS=linux GOARCH=$(ARCH) go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o out/image/manager-$(ARCH) .
	cd hack/image && go run . -binary ../../out/image/manager-$(ARCH) -name $(IMAGE) -arch $(ARCH) -out ../../out/image/controller-$(VERSION)-$(ARCH).tar

clean: ## Remove build outputs (not the cache of the binaries target)
	rm -rf bin out

##@ Tools

define install-tool
	@echo "building $(1) into bin/"
	@mkdir -p $(BIN) && rm -f $(BIN)/.$(2)-v*
	@GOBIN=$(BIN) go install $(1)
	@touch $@
endef

$(CONTROLLER_GEN_STAMP):
	$(call install-tool,sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION),controller-gen)

$(KUSTOMIZE_STAMP):
	$(call install-tool,sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION),kustomize)

$(GOLANGCI_LINT_STAMP):
	@echo "golangci-lint is large: its first build takes several minutes"
	$(call install-tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION),golangci-lint)
