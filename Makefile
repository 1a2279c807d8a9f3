# make help lists every target. PYTHON=… uses an interpreter that already has torch (no virtual environment is made).
SHELL := /bin/bash
.DEFAULT_GOAL := help
ARGS ?=
METHODS ?=
PAPER ?= demo

ifdef PYTHON
  PY := $(PYTHON)
  READY :=
else
  PY := .venv/bin/python
  READY := .venv/.ready
endif

.venv/.ready: pyproject.toml constraints.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,joblib,slurm,browser]'
	@touch $@

.PHONY: help install demo demo-ner test test-slow check format tables compare report reproduction audit plan bench calibrate walk doctor clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 22

install: $(READY) ## make .venv and install the project (about 2 GB on disk with a CPU build of torch)

demo: $(READY) ## train PT and DePT on real data, print the comparison (METHODS=all: every method)
	$(PY) scripts/demo.py $(if $(METHODS),METHODS=$(METHODS)) $(ARGS)

demo-ner: $(READY) ## entity recognition on SEC filings: head only, deep prefix, APT, three seeds
	$(PY) scripts/demo.py ner $(ARGS)

test: $(READY) ## the fast tests (6 to 7 minutes on 2 quiet cores)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PY) -m pytest -n 2 $(ARGS)

test-slow: $(READY) ## random kills, every task x protocol x family, two processes, a real browser
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PY) -m pytest -n 2 -m slow $(ARGS)

check: $(READY) ## ruff (lint, format) and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY) ## let ruff format and mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

tables: $(READY) ## tables from the ledger: make tables PAPER=dept ARGS='table=1 format=latex out=t.tex'
	$(PY) -m results.tables paper=$(PAPER) $(ARGS)

compare: $(READY) ## a method of yours on the CPU subset of offline_v1, with significance: make compare METHOD=my_pt
	$(PY) scripts/compare.py METHOD=$(METHOD) $(ARGS)

report: $(READY) ## one self-contained HTML page of the ledger: results/report.html
	$(PY) -m results.report out=results/report.html $(ARGS)

reproduction: $(READY) ## REPRODUCTION.md: what was run, what matched, what did not, what could not be run
	$(PY) -m results.reproduction out=REPRODUCTION.md $(ARGS)

audit: $(READY) ## docs/audit.md: what published tables (and our own) could show, from their test sets alone
	$(PY) -m results.audit out=docs/audit.md $(ARGS)

plan: $(READY) ## a sweep's grid and what the ledger lacks: make plan ARGS='experiment=dept/table1'
	$(PY) run.py -m plan=true $(ARGS)

bench: $(READY) ## speed and memory: packed sweeps, against PEFT with the Trainer, the papers' order (an hour on 2 cores)
	$(PY) scripts/bench.py packed --backbone t5_mini t5_small --runs 8
	$(PY) scripts/bench.py packed --backbone smollm2_135m --runs 8 --override runner.max_steps=8 runner.eval_every=8
	$(PY) scripts/bench.py packed --backbone t5_mini --curve 1 2 4 8 16
	$(PY) scripts/bench.py order
	$(PY) scripts/bench.py peft $(ARGS)

calibrate: $(READY) ## how often the verdicts are wrong, by simulation (about ten minutes on 2 cores)
	OMP_NUM_THREADS=1 $(PY) scripts/calibrate.py $(ARGS)

walk: $(READY) ## every architecture x method x question against plain transformers: docs/backbones.md
	OMP_NUM_THREADS=1 $(PY) scripts/walk.py --docs $(ARGS)

doctor: $(READY) ## what is missing on this machine, and the command that brings it
	$(PY) scripts/doctor.py $(ARGS)

clean: ## forget caches of tools (never the ledger, never .venv)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
