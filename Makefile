# Everything a fresh machine needs is Python 3.11+, make and git: each target sets up what is missing, once.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CONFIG ?= configs/default.yaml
ARGS   ?=
SIZE   ?= quick
# Sweeps side by side: a quick one has one core, a full one has the machine.
JOBS   ?= $(if $(filter quick,$(SIZE)),2,1)
PAPER  := runs/paper-$(SIZE)
SWEEPS := $(notdir $(basename $(wildcard configs/paper/$(SIZE)/*.yaml)))
# The longest first; and so they stand in the report.
FIRST  := reacher hopper walker2d halfcheetah humanoid reacher-100 two-worlds ten-worlds map
ORDER  := $(filter $(SWEEPS),$(FIRST)) $(filter-out $(FIRST),$(SWEEPS))

.PHONY: help train sweep paper related report test test-oldest test-newest audit docs dist lint format bench bench-accelerator soak clean $(addprefix paper/,$(SWEEPS))
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables: CONFIG=configs/quick.yaml  ARGS='--method.learning_rate 0.05'  RUN=runs/mine  SIZE=quick  JOBS=2  PYTHON=python3.12  VENV=.venv"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: $(READY)  ## train the main job (CONFIG, ARGS)
	$(BIN)/nigt train $(CONFIG) $(ARGS)

sweep: $(READY)  ## train many configurations (CONFIG is a sweep, ARGS); docs/sweeps.md
	$(BIN)/nigt sweep $(CONFIG) $(ARGS)

paper: $(READY)  ## the paper's experiments and their page (SIZE=quick or full); again, to go on where it stopped
	$(MAKE) --no-print-directory --keep-going --jobs=$(JOBS) $(addprefix paper/,$(ORDER))
	$(BIN)/nigt report $(addprefix $(PAPER)/,$(ORDER)) --output $(PAPER)/report.html

$(addprefix paper/,$(SWEEPS)): paper/%: $(READY)
	if [ -d $(PAPER)/$* ]; then $(BIN)/nigt sweep $(PAPER)/$* --resume $(ARGS); \
	else $(BIN)/nigt sweep configs/paper/$(SIZE)/$*.yaml --output $(PAPER) --name $* $(ARGS); fi

related: $(READY)  ## tables and figures of the systems without a server, into runs/related
	mkdir -p runs/related
	set -e; for name in $(notdir $(basename $(wildcard bench/related/*.py))); do \
	  echo "$$name"; $(BIN)/python bench/related/$$name.py --figure runs/related/$$name.png > runs/related/$$name.md; cat runs/related/$$name.md; done

report: $(READY)  ## a page and figures of RUN, the folder of a run or a sweep, or several
	$(BIN)/nigt report $(RUN) $(ARGS)

test: $(READY)  ## run the tests (ARGS go to pytest)
	$(BIN)/python -m pytest $(ARGS)

# The lowest versions that pyproject.toml allows of what users get; of the tools of the tests, the pinned ones.
test-oldest: $(READY)  ## the tests with the oldest versions that are allowed (ARGS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	rm -rf $(VENV)-oldest && $(PYTHON) -m venv $(VENV)-oldest
	$(BIN)/uv pip compile --quiet pyproject.toml --extra train --resolution lowest-direct --python $(VENV)-oldest/bin/python \
	  --output-file $(VENV)-oldest/oldest.txt
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c $(VENV)-oldest/oldest.txt -e '.[dev]'
	$(VENV)-oldest/bin/python -m pytest -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning $(ARGS)

test-newest:  ## the tests with the newest versions of everything, on Python 3.12 or newer (PYTHON, ARGS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12) and "PYTHON: got %d.%d, allowed: 3.12 or newer" % sys.version_info[:2])'
	rm -rf $(VENV)-newest && $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(VENV)-newest/bin/python -m pytest $(ARGS)

# What cannot be looked up is a failure, too: --strict.
audit: $(READY)  ## known vulnerabilities of the pinned versions, licences, and an SBOM in build/audit
	test -d $(VENV)-audit || $(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom pip-audit pip-licenses
	mkdir -p build/audit
	$(VENV)-audit/bin/cyclonedx-py environment $(BIN)/python --output-file build/audit/sbom.json
	$(VENV)-audit/bin/pip-licenses --python=$(BIN)/python --format=markdown --order=license --partial-match --fail-on=GPL --output-file=build/audit/licences.md
	$(VENV)-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

docs: $(VENV)/.ready-docs  ## build the site into site/; a warning or a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.ready-docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

# The tests run on what the wheel installs: beside them there is no package in source.
dist: $(READY)  ## build an sdist and a wheel into dist/, and run the tests on what they install (ARGS go to pytest)
	rm -rf dist
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$(ls dist/*.whl)[dev]"
	tar -xzf dist/*.tar.gz -C dist && rm -r dist/nigt_jax-*/nigt_jax
	cd dist/nigt_jax-*/ && ../venv/bin/pytest tests $(ARGS)

lint: $(READY)  ## check style, types and which room knows which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## measure what this machine does in a second (ARGS); bench/README.md has more
	$(BIN)/nigt bench $(ARGS)

bench-accelerator: $(READY)  ## everything of interest of this accelerator, into runs/accelerator.json; again, to go on
	mkdir -p runs
	$(BIN)/nigt bench --accelerator --json runs/accelerator.json

soak: $(READY)  ## half an hour of runs, sweeps and real workers that are killed and come back (ARGS); bench/README.md has more
	$(BIN)/python bench/kills.py
	$(BIN)/python bench/soak.py $(ARGS)

clean:  ## remove the environment and caches, never runs
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest $(VENV)-audit .pytest_cache .mypy_cache .ruff_cache .hypothesis
