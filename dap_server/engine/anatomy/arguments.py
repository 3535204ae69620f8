"""What a module is called with, by the names that its `forward` gives them."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch import nn

from dap_server.engine.anatomy.modules import forward_of


def bind(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the parameter names of a module's `forward`."""
    try:
        signature = _signature(forward_of(type(module)))
        bound = signature.bind(module, *args, **kwargs)
    except (TypeError, ValueError):
        return {**{f"args[{i}]": value for i, value in enumerate(args)}, **kwargs}
    names = dict(list(bound.arguments.items())[1:])  # without self
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names.update(names.pop(parameter.name, {}))
    return names


@functools.cache
def _signature(forward: Any) -> inspect.Signature:
    return inspect.signature(forward)
