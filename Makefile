# Syntrial. `make` shows the targets; `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
PYTHON := .venv/bin/python
DISTRIBUTIONS := . services/training services/data_prep services/generation services/filtering services/classification
PYPROJECTS := $(patsubst %,%/pyproject.toml,$(DISTRIBUTIONS))
UNEMITTED := $(foreach name,syntrial syntrial-training syntrial-data-prep syntrial-generation syntrial-filtering syntrial-classification,--no-emit-package $(name))
HELM := $(or $(shell command -v helm),$(wildcard $(or $(CLUSTER_HOME),$(HOME)/.cache/test-cluster)/bin/helm))
DATA_ROOT ?= $(or $(SYNTRIAL_DATA_ROOT),$(wildcard ../shared/data/medmnist))
FUZZ_SECONDS ?= 600
IMAGE_SETTINGS = IMAGES='$(IMAGES)' IMAGE_REPOSITORY='$(IMAGE_REPOSITORY)' TAG='$(TAG)' GENERATOR='$(GENERATOR)'
# One more than cores: a third of the fast tests' time goes by while they wait for processes.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
RUN_OPTIONS := $(if $(DATA_ROOT),--data-root $(DATA_ROOT))

##@ Use
.PHONY: demo study-quick
demo: .venv/.installed ## A trial in minutes: BreastMNIST where it is at hand, else drawn images
	$(PYTHON) -m syntrial demo $(RUN_OPTIONS)

study-quick: .venv/.installed ## The PneumoniaMNIST study of the README; under 45 minutes on two cores
	$(PYTHON) -m syntrial run examples/pneumonia-quick.yaml $(RUN_OPTIONS)

##@ Deploy
.PHONY: images image-sizes load push sbom update-base deploy undeploy
images: ## Build the images with docker, podman or buildah: IMAGES=, IMAGE_REPOSITORY=, TAG=, BASE_IMAGE=, GENERATOR=
	@$(IMAGE_SETTINGS) images/build.sh

image-sizes: ## Print the images' sizes; fails where the controller's is over 250 MB: IMAGES=
	@$(IMAGE_SETTINGS) images/size.sh

load: ## Put the images into the current cluster: kind, k3d, minikube, or by LOAD_COMMAND=
	@$(IMAGE_SETTINGS) images/load.sh

push: .venv/.installed ## Push the images to the registry in IMAGE_REPOSITORY=; signed where cosign is at hand
	@$(IMAGE_SETTINGS) images/push.sh

sbom: .venv/.installed ## List what each image holds, as CycloneDX, in build/sbom: IMAGES=, SBOM=
	@$(IMAGE_SETTINGS) SBOM='$(SBOM)' images/sbom.sh

update-base: ## Pin the base image by the digest that its tag has now: BASE_IMAGE=
	@images/update-base.sh

deploy: ## Install or upgrade on the current cluster by helm: NAMESPACE=, VALUES=, IMAGE_REPOSITORY=, TAG=
	@NAMESPACE='$(NAMESPACE)' VALUES='$(VALUES)' IMAGE_REPOSITORY='$(IMAGE_REPOSITORY)' TAG='$(TAG)' charts/deploy.sh

undeploy: ## Remove it, all but data; FORCE=1 where experiments exist, KEEP_CRD=1 leaves their definition
	@NAMESPACE='$(NAMESPACE)' FORCE='$(FORCE)' KEEP_CRD='$(KEEP_CRD)' charts/undeploy.sh

##@ Develop
.PHONY: test test-e2e test-cluster lint format protos crd k8s lock record verify verify-full fuzz benchmarks
test: .venv/.installed ## The fast tests: no cluster, GPU or network
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

test-e2e: .venv/.installed ## Whole trials by the command line: second runs, kills, interrupts, S3; trainings of several processes
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile -m 'e2e and not slow' $(PYTEST_OPTIONS) \
	  tests/e2e tests/unit/generation/test_shared.py

test-cluster: .venv/.installed ## Tests on a real Kubernetes: CRD, controller, chart; skipped where there is none
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m 'cluster and not slow' $(PYTEST_OPTIONS) tests/cluster

lint: .venv/.installed ## ruff, mypy --strict on platform and services, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@if [ -n '$(HELM)' ]; then $(HELM) lint --quiet --kube-version 1.34.0 charts/syntrial; else echo 'no helm: the chart is not linted'; fi

format: .venv/.installed ## Format the code and mend what ruff can mend
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

protos: .venv/.installed ## Generate syntrial/v1 from protos/
	$(PYTHON) protos/generate.py

crd: .venv/.installed ## Generate the CustomResourceDefinition, here and in the chart, from the Experiment model
	$(PYTHON) k8s/crd/generate.py

k8s: .venv/.installed ## Render k8s/ and the chart's golden files from the chart
	$(PYTHON) k8s/render.py

lock: $(UV) ## Resolve all dependencies again into requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' --extra local --extra cluster --extra dev $(UNEMITTED) -o requirements.lock pyproject.toml
	UV=$(abspath $(UV)) $(PYTHON) images/locks.py

record: .venv/.installed ## Record the results of stages whose source or version changed
	OMP_NUM_THREADS=1 $(PYTHON) -m tests.contract.recorded

verify: .venv/.installed ## Fail where generated files differ from their sources
	$(PYTHON) protos/generate.py --check
	$(PYTHON) k8s/crd/generate.py --check
	$(PYTHON) k8s/render.py --check
	$(PYTHON) images/locks.py --check
	@if grep -nE '(https?|git|file)://' requirements.lock; then echo 'requirements.lock names an address'; exit 1; fi

verify-full: verify lint ## All tests, the slow ones too, and the benchmarks; those on a cluster want the images loaded
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile -m 'not cluster'
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m cluster tests/cluster
	$(MAKE) fuzz
	$(MAKE) benchmarks

fuzz: .venv/.installed ## Give each reader of foreign bytes what a fuzzer makes up: FUZZ_SECONDS= each, FUZZ_TARGETS=
	@if $(PYTHON) -c 'import atheris' 2>/dev/null; then OMP_NUM_THREADS=1 $(PYTHON) -m tests.fuzz $(FUZZ_TARGETS) --seconds $(FUZZ_SECONDS); 	else echo 'no atheris on this platform: readers are not fuzzed'; fi

benchmarks: .venv/.installed ## Print each benchmark's ratio to its peer
	for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(PYTHON) $$file; done

##@ Set up
.PHONY: setup clean help
setup: .venv/.installed ## Create the environment from requirements.lock

.uv/bin/uv:
	python3 -m venv .uv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .uv/requirements.txt
	.uv/bin/pip install --quiet --require-hashes -r .uv/requirements.txt

.venv/.installed: requirements.lock $(PYPROJECTS) | $(UV)
	$(UV) venv --quiet --allow-existing --python 3.11 .venv
	VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(DISTRIBUTIONS))
	@touch $@

clean: ## Remove the environment and caches; results in runs/ stay
	rm -rf .venv .uv .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
