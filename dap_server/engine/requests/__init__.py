"""One function per DAP request: the only place in the engine that knows DAP."""

from dap_server.engine.requests import (
    attention,
    breakpoints,
    control,
    disassembly,
    exceptions,
    generation,
    gradients,
    lens,
    map,
    memory,
    modules,
    sampling,
    session,
    stack,
    tensors,
    travel,
    values,
)
from dap_server.engine.requests.table import requests

__all__ = [
    "attention",
    "breakpoints",
    "control",
    "disassembly",
    "exceptions",
    "generation",
    "gradients",
    "lens",
    "map",
    "memory",
    "modules",
    "requests",
    "sampling",
    "session",
    "stack",
    "tensors",
    "travel",
    "values",
]
