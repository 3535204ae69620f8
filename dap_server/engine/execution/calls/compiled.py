"""Models that are compiled: under the debugger they run eagerly, since nothing can be seen in a compiled one."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from dap_server.engine.execution.calls.replacing import Replacements

_ORIGINAL = "_orig_mod"


class Eagerly:
    """Has everything that is compiled run as it is written, in the whole process, until it is undone."""

    def __init__(self) -> None:
        self._stance: Any = None
        self._replaced = Replacements()

    def begin(self) -> None:
        """Never within a call, whose code may be compiled. Does nothing when it is so already."""
        if self._stance is None and "torch._dynamo" in sys.modules:
            self._stance = torch.compiler.set_stance("force_eager")
            self._replaced.put(torch._dynamo.OptimizedModule, "__call__", _call)

    def undo(self) -> None:
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
            self._replaced.undo()


def is_compiled(model: nn.Module) -> bool:
    """Whether it or a part of it is."""
    return any(
        getattr(module, "_compiled_call_impl", None) is not None or _ORIGINAL in module._modules
        for module in model.modules()
    )


def original(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, of what it has made of it; every other module itself."""
    while (inner := module._modules.get(_ORIGINAL)) is not None:
        module = inner
    return module


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Of what `torch.compile` makes of a module: without its warning of hooks on all modules."""
    return nn.Module.__call__(self, *args, **kwargs)
