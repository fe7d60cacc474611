# `make` alone prints this help. Every target makes the virtual environment it needs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
EXTRAS := train,evaluation,arrow,lora,serve,test
CODE := src tests benchmarks docs demo
# 1 thread beats 2 while anything else is running on a small machine.
THREADS ?= $(shell nproc)

CORE := $(VENV)/.core
FULL := $(VENV)/.full
WEB := $(VENV)/.web
ASTRONAUT := $(VENV)/demo/astronaut.png

##@ Use
.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(CORE) ## the core packages into .venv (1.4 GB)

.PHONY: demo
demo: $(CORE) $(ASTRONAUT) ## a portrait of an astronaut in the manner of demo/style.png
	$(BIN)/facestudio generate $(ASTRONAUT) --style demo/style.png --seed 1 --force -o demo/portrait.png

.PHONY: web
web: $(WEB) ## the page in a browser: photo, style, words, portraits
	$(BIN)/facestudio web

##@ Train
.PHONY: train-mini
train-mini: $(FULL) ## prepare and train every part of mini from the tars in data/ (hours)
	$(BIN)/facestudio prepare configs/mini/pictures.toml
	$(BIN)/facestudio train codec configs/mini/codec.toml
	$(BIN)/facestudio train encoder configs/mini/encoder.toml
	$(BIN)/facestudio train towers configs/mini/towers.toml
	$(BIN)/facestudio prepare configs/mini/prepare.toml
	$(BIN)/facestudio train prior configs/mini/prior.toml
	$(BIN)/facestudio train unet configs/mini/unet.toml
	$(BIN)/facestudio train unet configs/mini/likeness.toml
	$(BIN)/facestudio train unet configs/mini/few_steps.toml
	$(BIN)/facestudio train look configs/mini/look.toml
	$(BIN)/facestudio train decoder configs/mini/decoder.toml
	$(BIN)/facestudio train reader configs/mini/reader.toml
	$(BIN)/facestudio train unet configs/mini/wishes.toml
	$(BIN)/facestudio train decoder configs/mini/wishes_decoder.toml
	$(BIN)/facestudio init configs/mini/model.toml --out runs/mini/model

##@ Develop
.PHONY: develop
develop: $(FULL) ## core and what training, evaluation and tests need (2.1 GB)

.PHONY: check
check: $(FULL) ## style, types, the floors of the house
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: test
test: $(FULL) ## the tests, under ten minutes on two cores; the page's in a browser: make test-browser
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -m "not full and not ray and not browser and not safety" $(PYTEST_ARGS)

.PHONY: test-ray
test-ray: $(FULL) ## the tests of Ray's engine, on a cluster of two nodes on this machine
	@$(PIP_INSTALL) --editable '.[$(EXTRAS),ray]'
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -m ray $(PYTEST_ARGS)

.PHONY: test-safety
test-safety: $(FULL) ## the content checker with its real weights
	@$(PIP_INSTALL) --editable '.[$(EXTRAS),safety]'
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -m safety $(PYTEST_ARGS)

.PHONY: test-browser
test-browser: $(FULL) ## the page in Debian's Chromium (apt-get install chromium chromium-driver)
	@$(PIP_INSTALL) --editable '.[$(EXTRAS),web,browser]'
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

.PHONY: test-full
test-full: $(FULL) ## all tests, with Stable Diffusion 1.5 in its true shapes
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -m "not ray and not browser" $(PYTEST_ARGS)

.PHONY: format
format: $(FULL) ## put imports and lines in order
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: picture
picture: $(FULL) ## draw the picture in docs/architecture.md again
	$(BIN)/python docs/draw_imports.py docs/architecture.md

.PHONY: figures
figures: $(FULL) $(ASTRONAUT) ## draw the paper's figures by mini into docs/ (minutes)
	$(BIN)/facestudio figures configs/mini/figures.toml

.PHONY: bench
bench: $(CORE) $(ASTRONAUT) ## seconds of a cold command and of a warm picture
	$(BIN)/python -m benchmarks.mini_speed $(ASTRONAUT)

.PHONY: bench-server
bench-server: $(FULL) ## the server under load: lost, mixed up, memory, gain of batches
	$(BIN)/python -m benchmarks.server_load

.PHONY: bench-hostile
bench-hostile: $(FULL) ## 1,000 damaged and hostile pictures to the server
	$(BIN)/python -m benchmarks.hostile_server

.PHONY: fuzz-page
fuzz-page: $(FULL) ## 1,000 damaged and hostile pictures to the loader, then to the page
	$(BIN)/python -m benchmarks.hostile_pictures
	$(BIN)/python -m benchmarks.hostile_pictures --page --out benchmarks/out/hostile_page.json

.PHONY: fuzz-server
fuzz-server: $(FULL) ## ten minutes of schemathesis against the server
	@$(PIP_INSTALL) --editable '.[$(EXTRAS),fuzz]'
	$(BIN)/python -m benchmarks.server_fuzz

.PHONY: bench-peers
bench-peers: $(FULL) ## drawing at full size against diffusers with the same adapters (10 GB)
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

.PHONY: bench-growth
bench-growth: $(FULL) ## how the time of a picture grows with size, steps, batch and people
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m benchmarks.growth $(BENCH_ARGS)

.PHONY: bench-training
bench-training: $(FULL) ## samples a second from prepared shards against all encoded on the fly
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m benchmarks.training $(BENCH_ARGS)

.PHONY: constraints
constraints: ## pin the newest set that installs together (then run the tests)
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	sed -n 's/^torch==.*/&/p' constraints.txt > "$$scratch/pins"; echo 'pillow<13' >> "$$scratch/pins"; \
	$(PYTHON) -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/pip" install --quiet -c "$$scratch/pins" ".[$(EXTRAS),ray,web,browser,safety,fuzz]"; \
	"$$scratch/venv/bin/pip" install --quiet --no-deps clip-anytorch; \
	{ sed -n '/^#/p' constraints.txt; "$$scratch/venv/bin/pip" list --format=freeze \
	  | grep -viE '^(facestudio|pip)==' | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' | sort -f; } > "$$scratch/new"; \
	cp "$$scratch/new" constraints.txt

.PHONY: clean
clean: ## remove .venv and all caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a file that is newer than what it was made from means "nothing to do".
$(CORE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the core packages into $(VENV) ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

$(FULL): $(CORE)
	@echo "installing what training, evaluation and tests need ..."
	@$(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	@# An oracle for one test, read by path: its own requirements (torchvision) are not wanted.
	@$(PIP_INSTALL) --no-deps clip-anytorch
	@touch $@

$(WEB): $(CORE)
	@echo "installing what the page needs ..."
	@$(PIP_INSTALL) --editable '.[web]'
	@touch $@

# The public-domain portrait travels inside scikit-image's wheel; the demo takes the one file.
$(ASTRONAUT): constraints.txt
	@mkdir -p $(@D)
	@$(PYTHON) -m pip download --quiet --no-deps --dest $(@D) --constraint constraints.txt scikit-image
	@$(PYTHON) -c 'import pathlib, sys, zipfile; \
	wheel = next(pathlib.Path(sys.argv[1]).parent.glob("scikit_image-*.whl")); \
	pathlib.Path(sys.argv[1]).write_bytes(zipfile.ZipFile(wheel).read("skimage/data/astronaut.png")); \
	wheel.unlink()' $@
