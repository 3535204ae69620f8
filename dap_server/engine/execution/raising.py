"""Exceptions of forwards, seen where they are raised: while the calls around still stand on the stack."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import forward_of
from dap_server.engine.execution.activations import call_frame

Raises = Callable[[nn.Module, FrameType, FrameType | None, Exception], None]


class ErrorWatch:
    """Reports an exception once, of the innermost module call that it leaves."""

    def __init__(self, raises: Raises) -> None:
        """`raises` gets the module, the frames of its call and of its forward, which is over, and the exception."""
        self._raises = raises
        self._handle: RemovableHandle | None = None
        self._told: BaseException | None = None

    def switch(self, on: bool) -> None:
        if on and self._handle is None:
            self._handle = register_module_forward_hook(self._ended, always_call=True)
        elif not on and self._handle is not None:
            self._handle.remove()
            self._handle = self._told = None

    def _ended(self, module: nn.Module, _args: Any, output: Any) -> None:
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if output is not None or not isinstance(error, Exception) or error is self._told:
            return
        self._told = error
        code = getattr(forward_of(type(module)), "__code__", None)
        forward = next((f for f in _frames(error.__traceback__) if f.f_code is code), None)
        self._raises(module, call_frame(sys._getframe(1)), forward, error)


def _frames(traceback: TracebackType | None) -> list[FrameType]:
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
