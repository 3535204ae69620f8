"""What a running module was called with."""

from __future__ import annotations

from typing import Any

from dap_server.engine.anatomy.arguments import bind
from dap_server.engine.execution.activations import Activation


def bound_arguments(activation: Activation) -> dict[str, Any]:
    """What a module was called with, by the parameter names of its `forward`."""
    return bind(activation.module, activation.args, activation.kwargs)
