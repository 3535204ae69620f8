"""One function per DAP request: the only place in the engine that knows DAP."""

from dap_server.engine.requests import breakpoints, control, sampling, session, stack, travel, values
from dap_server.engine.requests.table import requests

__all__ = ["breakpoints", "control", "requests", "sampling", "session", "stack", "travel", "values"]
