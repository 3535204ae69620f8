# `make demo` and `make test` set themselves up; a second run starts at once.

# The first Python that is new enough, unless one is given: make demo PYTHON=/path/to/python
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV = .venv
RUN = $(VENV)/bin/python -m
INSTALL = $(RUN) pip --disable-pip-version-check install $$([ -t 1 ] || echo --quiet) -c constraints.txt
EXTENSION = vscode-extension
ARGS =

.PHONY: help demo test test-sweep test-architectures lint format types coverage bench node editors clean
.PHONY: extension-types test-extension vsix e2e e2e-newest
