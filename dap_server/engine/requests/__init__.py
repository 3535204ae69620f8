"""One function per DAP request: the only place in the engine that knows DAP."""

from dap_server.engine.requests import (
    attention,
    breakpoints,
    control,
    gradients,
    lens,
    sampling,
    session,
    stack,
    travel,
    values,
)
from dap_server.engine.requests.table import requests

__all__ = [
    "attention",
    "breakpoints",
    "control",
    "gradients",
    "lens",
    "requests",
    "sampling",
    "session",
    "stack",
    "travel",
    "values",
]
