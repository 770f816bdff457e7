# Needs Python 3.11 to 3.13, pip and make. On Windows, use the pip lines in README.md.
PYTHON ?= python3
FULL := .venv
EDGE := .venv-edge
DEMO := build/demo

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz lint format wheel clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(FULL)/stamp $(EDGE)/stamp ## Draw cats and dogs, train on them, export to INT8, classify new ones
	rm -rf $(DEMO)
	$(FULL)/bin/python -m catsdogs_edge.drawings $(DEMO)/train 60
	$(FULL)/bin/python -m catsdogs_edge.drawings $(DEMO)/new 6 --first-seed 1000
	$(FULL)/bin/catsdogs-train $(DEMO)/train --weights none --epochs 3 --batch-size 8 --out $(DEMO)/run
	$(FULL)/bin/catsdogs-export $(DEMO)/run --int8
	$(EDGE)/bin/catsdogs-classify $(DEMO)/new --model $(DEMO)/run/onnx/model.int8.onnx

test: $(FULL)/stamp $(EDGE)/stamp ## Run all tests, and those of the edge once more where there is no TensorFlow
	$(FULL)/bin/python -m pytest
	$(EDGE)/bin/python -m pytest tests/edge

fuzz: $(EDGE)/stamp ## Damage pictures in 20,000 ways and decode them
	CATSDOGS_FUZZ=20000 $(EDGE)/bin/python -m pytest tests/edge/test_fuzz.py

lint: $(FULL)/stamp ## Check style and types
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy

format: $(FULL)/stamp ## Put the style right
	$(FULL)/bin/ruff check --fix .
	$(FULL)/bin/ruff format .

wheel: $(FULL)/stamp ## Build the wheel into dist/
	rm -rf dist
	$(FULL)/bin/python -m build --wheel

clean: ## Remove the environments and everything that was built
	rm -rf $(FULL) $(EDGE) build dist

# What an environment holds follows from these two files alone. Headless OpenCV, because its wheel needs
# no library of the system.
$(FULL)/stamp: EXTRAS := edge-headless,export,train,dev
$(EDGE)/stamp: EXTRAS := edge-headless,test
$(FULL)/stamp $(EDGE)/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@
