# Needs Python 3.11 to 3.14, pip and make; the full environment 3.11 to 3.13, as TensorFlow does. On Windows, use the pip lines in README.md.
PYTHON ?= python3
FULL := .venv
EDGE := .venv-edge
DEMO := build/demo
PIPELINE := build/pipeline
ARM64 := build/arm64
# Without VNNI, this CPU answers for no other file with 8-bit weights
ARM64_TARGET = $(shell grep -qwE 'avx512_vnni|avx_vnni|asimddp' /proc/cpuinfo && echo arm64 || echo x86)
LOWEST := build/lowest
# Python compiles what is imported, once. Where it may not keep what it compiles, as in many containers, it does so in
# each process: 20 seconds instead of 7 to import TensorFlow.
export PYTHONDONTWRITEBYTECODE :=
# uv installs 3 GB in half a minute, pip in two.
UV := build/uv/bin/uv
export UV_PYTHON_DOWNLOADS := never
INSTALL = UV_PROJECT_ENVIRONMENT=$(@D) $(UV) sync --quiet --frozen --inexact $(EXTRAS:%=--extra %)

.DEFAULT_GOAL := help
.PHONY: help demo pipeline docs test test-slow test-all test-arm64 test-lowest fuzz lint format lock wheel release-check clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/'

demo: $(EDGE)/stamp ## Test the model that comes along, and classify images with it: no TensorFlow
	rm -rf $(DEMO)
	$(EDGE)/bin/python -m catsdogs_edge.images.drawings $(DEMO) 4 --kind cat --kind dog --kind room --soft --first-seed 1
	$(EDGE)/bin/catsdogs-doctor
	$(EDGE)/bin/catsdogs-classify $(DEMO)
	@echo
	@echo "Next: $(EDGE)/bin/catsdogs-classify YOUR/IMAGES"
	@echo "      $(EDGE)/bin/catsdogs-cam 0        a camera, if one is named above"
	@echo "      $(EDGE)/bin/catsdogs-serve           a page for images: http://127.0.0.1:8765/ (with a camera: catsdogs-cam 0 --web)"
	@echo "      make pipeline                        train, export and classify, on drawings"

pipeline: $(FULL)/stamp $(EDGE)/stamp ## Draw cats, dogs and rooms, train on them, export to INT8, classify new ones
	rm -rf $(PIPELINE)
	$(FULL)/bin/python -m catsdogs_edge.images.drawings $(PIPELINE)/train 60
	$(FULL)/bin/python -m catsdogs_edge.images.drawings $(PIPELINE)/things 30 --kind room
	$(FULL)/bin/python -m catsdogs_edge.images.drawings $(PIPELINE)/new 6 --first-seed 1000 --kind cat --kind dog --kind room
	$(FULL)/bin/catsdogs-train $(PIPELINE)/train --weights none --epochs 3 --batch-size 8 --other $(PIPELINE)/things --out $(PIPELINE)/run
	$(FULL)/bin/catsdogs-export $(PIPELINE)/run --int8
	$(EDGE)/bin/catsdogs-classify $(PIPELINE)/new --model $(PIPELINE)/run/onnx/model.int8.onnx
	@echo
	@echo "How the training went: $(PIPELINE)/run/report.md; how close INT8 is: $(PIPELINE)/run/onnx/parity.png"

# If one of pytest's processes crashes, the others would wait for it without end, instead of for a new one.
PYTEST := -m pytest --max-worker-restart 0

test: $(FULL)/stamp $(EDGE)/test-stamp ## Run the fast tests, those of the edge where there is no TensorFlow
	$(EDGE)/bin/python $(PYTEST) -n 2 --dist loadfile tests/edge
# In the order of tests/conftest.py, not of their number of tests: the longest, few in number, would come last.
	$(FULL)/bin/python $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder tests/train tests/export tests/integration

docs: $(EDGE)/docs-stamp ## Build the documentation into build/site; a link that leads nowhere is an error
	$(EDGE)/bin/sphinx-build -q --fail-on-warning --keep-going -c docs . build/site
	@echo "Open build/site/index.html"

test-slow: $(FULL)/dev-stamp $(EDGE)/slow-stamp docs ## Run what takes longer: other engines, Ray, devices, kill -9, documents, photographs
# More processes than cores: Ray's tests wait more than they compute.
	$(EDGE)/bin/python $(PYTEST) -m slow -n 4 tests/edge/classify tests/edge/cluster
# Apart from those, which leave no core to the servers and cameras of these.
	$(EDGE)/bin/python $(PYTEST) -m slow -n 2 --ignore=tests/edge/classify --ignore=tests/edge/cluster tests/edge
	CATSDOGS_ONE_CORE=1 $(FULL)/bin/python $(PYTEST) -m slow -n 2 --dist loadfile --no-loadscope-reorder \
	  tests/integration tests/train tests/export

test-all: test test-slow ## Run all tests

test-arm64: $(FULL)/stamp $(EDGE)/test-stamp ## Ask models on 64-bit ARM, emulated, and compare (Debian; five minutes)
	command -v debootstrap >/dev/null || { apt-get -qq update && apt-get -qq install -y debootstrap; }
	rm -rf $(ARM64)/drawings $(ARM64)/run
	$(FULL)/bin/python -m catsdogs_edge.images.drawings $(ARM64)/drawings 20
	$(FULL)/bin/catsdogs-train $(ARM64)/drawings --weights none --epochs 1 --batch-size 8 --image-size 96 --out $(ARM64)/run
	$(FULL)/bin/catsdogs-export $(ARM64)/run --int8 --target $(ARM64_TARGET)
	$(EDGE)/bin/python scripts/arm64.py compare $(ARM64)/run/onnx/model.int8.onnx \
	  edge/catsdogs_edge/model/weights/catsdogs.int8.onnx

test-lowest: $(UV) ## Run the edge's fast tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear $(LOWEST)
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[edge-headless,web,test]'
	$(LOWEST)/bin/python $(PYTEST) -n 2 --dist loadfile tests/edge

fuzz: $(EDGE)/test-stamp ## Damage images in 20,000 ways and decode them
	CATSDOGS_FUZZ=20000 $(EDGE)/bin/python -m pytest tests/edge/images/test_fuzz.py

lint: $(FULL)/dev-stamp ## Check style, types, who imports whom, and GitHub's workflows
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy
	$(FULL)/bin/lint-imports --no-cache
	$(UV) lock --check --quiet
	$(FULL)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(FULL)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(FULL)/bin/zizmor --offline --quiet .github

format: $(FULL)/dev-stamp ## Put the style right
	$(FULL)/bin/ruff check --fix .
	$(FULL)/bin/ruff format .

lock: $(UV) ## Choose versions for changed ranges of pyproject.toml (UPGRADE=1: the newest), and write the lock files
	$(PYTHON) scripts/lock.py $(if $(UPGRADE),--upgrade)

wheel: $(UV) ## Build the wheel into dist/
	rm -rf dist
	$(UV) build --quiet --wheel --python $(PYTHON)

release-check: $(UV) ## Build wheel and sdist twice, compare them, and try each in an empty environment
	$(PYTHON) -m venv --clear build/release
	UV_PROJECT_ENVIRONMENT=build/release $(UV) sync --quiet --frozen --only-group release
	build/release/bin/python scripts/check_release.py

clean: ## Remove the environments and everything that was built
	rm -rf $(FULL) $(EDGE) build dist

# What an environment holds follows from these two files alone, and each file that is installed is checked by its hash.
# Headless OpenCV, because its wheel needs no library of the system. The demo's environment is small; tests, Ray and the
# tools of developers are added when they are needed.
$(FULL)/stamp: EXTRAS := edge-headless export train test
$(FULL)/stamp: SIZE := 3 GB
$(EDGE)/stamp: EXTRAS := edge-headless web
$(EDGE)/stamp: SIZE := 360 MB
$(UV): locks/uv.txt
	$(PYTHON) -m venv --clear build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	touch $@

$(FULL)/stamp: CHECK := import sys; sys.exit(sys.version_info >= (3, 14) and "training needs Python 3.11 to 3.13, as TensorFlow does: make PYTHON=python3.13")
$(FULL)/stamp $(EDGE)/stamp: pyproject.toml uv.lock $(UV)
	@$(PYTHON) -c '$(CHECK)'
	@echo "An environment is installed into $(@D): about $(SIZE) on disk, a third of that to download"
	$(PYTHON) -m venv --clear $(@D)
	$(INSTALL)
	touch $@

$(FULL)/dev-stamp: EXTRAS := dev docs ray test-web
$(EDGE)/docs-stamp: EXTRAS := docs
$(EDGE)/test-stamp: EXTRAS := test
$(EDGE)/slow-stamp: EXTRAS := test-ray test-web
$(FULL)/dev-stamp: $(FULL)/stamp
$(EDGE)/docs-stamp $(EDGE)/test-stamp: $(EDGE)/stamp
$(EDGE)/slow-stamp: $(EDGE)/test-stamp
$(FULL)/dev-stamp $(EDGE)/docs-stamp $(EDGE)/test-stamp $(EDGE)/slow-stamp:
	$(INSTALL)
	touch $@
