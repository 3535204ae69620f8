# `make demo` and `make test` set themselves up; a second run starts at once.

# The first Python that is new enough, unless one is given: make demo PYTHON=/path/to/python
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV = .venv
RUN = $(VENV)/bin/python -m
INSTALL = $(RUN) pip --disable-pip-version-check install $$([ -t 1 ] || echo --quiet) -c constraints.txt
EXTENSION = vscode-extension
ARGS =
# As many tests at a time as there are cores, at most four: each may run a model. A file's are run by one process, in order.
PARALLEL = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-sweep test-architectures lint format types coverage bench node editors clean
.PHONY: extension-types test-extension vsix e2e e2e-newest
.DELETE_ON_ERROR:

help: ## Say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' Makefile | expand -t 20

demo: $(VENV)/.installed ## Debug the example model: type at its prompt, or look on when there is no terminal
	@$(VENV)/bin/llm-dap demo $(ARGS)

test: lint types test-extension ## Lint, types, the extension's unit tests, and the tests
	$(RUN) pytest $(PARALLEL) $(ARGS)

test-sweep: $(VENV)/.installed-dev ## The tests over all architectures and options, minutes more
	$(RUN) pytest $(PARALLEL) -m sweep $(ARGS)

test-architectures: $(VENV)/.installed-dev ## A debug session on every architecture of transformers, and what it found
	$(RUN) pytest $(PARALLEL) -m '' tests/architectures $(ARGS)

lint: $(VENV)/.installed-dev ## Check style and format
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: $(VENV)/.installed-dev ## Mend style and format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

types: $(VENV)/.installed-dev ## Check types
	$(RUN) mypy

coverage: $(VENV)/.installed-dev ## Tests with coverage: make coverage ARGS='-k stack'
	$(RUN) pytest $(PARALLEL) $(ARGS) --cov

bench: $(VENV)/.installed-dev ## Measure what the README says of speed
	$(RUN) benchmarks $(ARGS)

node: ## Install VS Code's own test client and tokenizer (needs npm), for a few more tests
	npm --prefix tests/e2e/node ci --no-audit --no-fund
	npm --prefix tests/language/grammar ci --no-audit --no-fund

extension-types: $(VENV)/.installed-dev ## Write what the VS Code extension has from the Structs: types, schema of launch.json
	$(VENV)/bin/python vscode-extension/scripts/generate.py

test-extension: ## The extension's types, style and unit tests (needs node)
ifeq ($(shell command -v npm),)
	@echo "SKIPPED: the unit tests of the VS Code extension need node and npm, which are not installed"
else
	@$(MAKE) --no-print-directory $(EXTENSION)/node_modules/.installed
	npm --prefix $(EXTENSION) run --silent check
	npm --prefix $(EXTENSION) run --silent test
endif

vsix: $(EXTENSION)/node_modules/.installed ## Package the VS Code extension (needs node)
	@mkdir -p dist
	npm --prefix $(EXTENSION) run --silent package

e2e: CODE_SERVER = 4.100.3
e2e: vsix $(VENV)/.installed ## Test the extension in VS Code itself (needs node): make e2e ARGS='--only session'
	@$(IN_VSCODE)

e2e-newest: CODE_SERVER = 4.139.1
e2e-newest: vsix $(VENV)/.installed ## The same in the newest VS Code
	@$(IN_VSCODE)

IN_VSCODE = tests/vscode/setup.sh build/code-server-$(CODE_SERVER) $(CODE_SERVER) && \
	node tests/vscode/run.mjs --install build/code-server-$(CODE_SERVER) --vsix dist/llm-dap.vsix \
		--python $(CURDIR)/$(VENV)/bin/python $(ARGS)

$(EXTENSION)/node_modules/.installed: $(EXTENSION)/package-lock.json
	npm --prefix $(EXTENSION) ci --no-audit --no-fund --loglevel=error
	@touch $@

editors: ## Unpack Emacs, Helix and Neovim (Debian, Ubuntu; 78 MB), for the tests that drive them
	tests/editors/install.sh .editors

clean: ## Remove the virtual environment and everything made
	rm -rf $(EXTENSION)/build $(EXTENSION)/dist $(EXTENSION)/node_modules tests/vscode/node_modules
	rm -rf $(VENV) .editors .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "llm-dap needs Python 3.11 or newer. If you have one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { \
		echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV), a few minutes the first time ..."
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV), a few minutes the first time ..."
	@$(INSTALL) -e '.[test,dev]'
	@touch $(VENV)/.installed $@
