# The commands of this repository. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := $(CURDIR)/.venv
PY := $(VENV)/bin/python
LINK := .ansible/collections/ansible_collections/evergreen/eks
# The rehearsal world is the package `simulator` under tests/.
SIMULATOR := PYTHONPATH=$(CURDIR)/tests $(PY) -m simulator

# Ansible needs a UTF-8 locale that exists, ignores an ansible.cfg in a folder that others may write to, and its workers are forked.
export LC_ALL := $(shell tools/find_locale.sh)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.ansible/home
export PATH := $(VENV)/bin:$(PATH)
ifeq ($(shell uname -s),Darwin)
export OBJC_DISABLE_INITIALIZE_FORK_SAFETY := YES
endif

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

# --- the rehearsal ----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: ready ## Watch a rehearsal cluster's nodes being replaced; interrupted, it goes on where it stopped
	@$(SIMULATOR) demo

.PHONY: demo-new
demo-new: ready ## The same with a new rehearsal cluster
	@$(SIMULATOR) demo-new

.PHONY: demo-upgrade
demo-upgrade: ready ## Watch a whole rehearsal cluster being upgraded from 1.31 to 1.33; interrupted, it goes on where it stopped
	@$(SIMULATOR) demo-upgrade

.PHONY: demo-upgrade-new
demo-upgrade-new: ready ## The same with a new rehearsal cluster
	@$(SIMULATOR) demo-upgrade-new

.PHONY: demo-stop
demo-stop: ready ## End the rehearsal world
	@$(SIMULATOR) demo-stop

# --- the tests --------------------------------------------------------------------------------------------------------

.PHONY: test
test: lint sanity docs ## Everything that continuous integration runs (up to 15 minutes)
	@echo "== unit tests and conformance"
	@$(PY) -m pytest -q -n 2 --dist worksteal tests/unit tests/conformance
	@echo "== integration tests"
	@$(PY) -m pytest -q -n 2 --dist worksteal -m "not slow" tests/integration

.PHONY: test-slow
test-slow: ready ## The integration tests that `make test` leaves out: every change by others in every stage, and the like (half an hour)
	@$(PY) -m pytest -q -n 2 --dist worksteal -m slow tests/integration

.PHONY: crash
crash: ready ## Kill rollouts at every step, and upgrades at every kind of step, and run them again (an hour and more; EVERY=5, ONLY=k017-after, JOBS=1)
	@$(SIMULATOR) crash --only '$(ONLY)' --every $(or $(EVERY),1) --jobs $(or $(JOBS),2)

.PHONY: bench
bench: ready ## Measure rollouts of 10, 50 and 200 nodes, and drains of 100 (half an hour and more; NODES=10,50, DRAIN=0, SPEED=10)
	@$(SIMULATOR) bench --nodes $(or $(NODES),10,50,200) --drain $(or $(DRAIN),100) --speed $(or $(SPEED),1)

.PHONY: test-fast
test-fast: ready ## The inner loop: format, unit tests, conformance (under a minute)
	@ruff check .
	@black --check --quiet .
	@$(PY) -m pytest -n 2 --dist worksteal tests/unit tests/conformance

.PHONY: lint
lint: ready ## ruff, black, yamllint, ansible-lint, changelog
	@echo "== ruff, black, yamllint, ansible-lint, antsibull-changelog"
	@ruff check .
	@black --check --quiet .
	@yamllint --strict .
	@ansible-lint --offline
	@antsibull-changelog lint

.PHONY: sanity
sanity: ready ## ansible-test sanity for the installed ansible-core, without any ignore file
	@echo "== ansible-test sanity"
	@$(PY) tools/run_ansible_test.py sanity

.PHONY: docs
docs: ready ## Check the documentation of the modules, roles and the collection
	@echo "== antsibull-docs"
	@antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .

# --- the environment --------------------------------------------------------------------------------------------------

.PHONY: ready
ready: $(VENV)/.ready $(LINK)/galaxy.yml

.PHONY: .venv
.venv: ready ## Make the Python environment and the link by which Ansible finds this collection

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@python=$$(PYTHON='$(PYTHON)' tools/find_python.sh) && "$$python" -m venv --upgrade-deps .venv >/dev/null
	@echo "installing the tools of requirements-dev.txt into .venv (once)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# A link, so that a change is seen at once, and not committed, because builds would follow it.
$(LINK)/galaxy.yml:
	@mkdir -p $(dir $(LINK)) && rm -rf $(LINK) && ln -s ../../../.. $(LINK)

.PHONY: clean
clean: ## Remove what make made (the rehearsal world is ended first)
	@if [ -x $(PY) ] && [ -d .world ]; then $(SIMULATOR) demo-stop || true; fi
	@rm -rf .venv .ansible .world .cache .pytest_cache .ruff_cache collections tests/output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
