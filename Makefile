# Needs Python 3.11 to 3.13, pip and make. On Windows, use the pip lines in README.md.
PYTHON ?= python3
FULL := .venv
EDGE := .venv-edge
DEMO := build/demo
PIPELINE := build/pipeline

.DEFAULT_GOAL := help
.PHONY: help demo pipeline test fuzz lint format wheel clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(EDGE)/stamp ## Test the model that comes along, and classify pictures with it: no TensorFlow
	rm -rf $(DEMO)
	$(EDGE)/bin/python -m catsdogs_edge.drawings $(DEMO) 4 --kind cat --kind dog --kind room --soft --first-seed 1
	$(EDGE)/bin/catsdogs-doctor
	$(EDGE)/bin/catsdogs-classify $(DEMO)
	@echo
	@echo "Next: $(EDGE)/bin/catsdogs-classify YOUR/PICTURES"
	@echo "      $(EDGE)/bin/catsdogs-cam 0        a camera, if one is named above"
	@echo "      make pipeline                        train, export and classify, on drawings"

pipeline: $(FULL)/stamp $(EDGE)/stamp ## Draw cats, dogs and rooms, train on them, export to INT8, classify new ones
	rm -rf $(PIPELINE)
	$(FULL)/bin/python -m catsdogs_edge.drawings $(PIPELINE)/train 60
	$(FULL)/bin/python -m catsdogs_edge.drawings $(PIPELINE)/things 30 --kind room
	$(FULL)/bin/python -m catsdogs_edge.drawings $(PIPELINE)/new 6 --first-seed 1000 --kind cat --kind dog --kind room
	$(FULL)/bin/catsdogs-train $(PIPELINE)/train --weights none --epochs 3 --batch-size 8 --other $(PIPELINE)/things --out $(PIPELINE)/run
	$(FULL)/bin/catsdogs-export $(PIPELINE)/run --int8
	$(EDGE)/bin/catsdogs-classify $(PIPELINE)/new --model $(PIPELINE)/run/onnx/model.int8.onnx
	@echo
	@echo "How the training went: $(PIPELINE)/run/report.md; how close INT8 is: $(PIPELINE)/run/onnx/parity.png"

test: $(FULL)/stamp $(EDGE)/stamp ## Run all tests, those of the edge where there is no TensorFlow
	$(EDGE)/bin/python -m pytest tests/edge
	$(FULL)/bin/python -m pytest -n 2 --dist loadfile tests/test_house.py tests/train tests/export tests/integration tests/edge/test_classifier.py

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
$(FULL)/stamp: EXTRAS := edge-headless,export,train,dev,ray
$(EDGE)/stamp: EXTRAS := edge-headless,test,test-ray
$(FULL)/stamp $(EDGE)/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@
