"""Exceptions of forwards, seen where they are raised: while the calls around still stand on the stack."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import forward_of
from dap_server.engine.execution.activations import call_frame, is_call

Raises = Callable[[nn.Module, FrameType, FrameType | None, Exception], None]


class Origin(NamedTuple):
    """What was raised, and where: the same when its step runs again."""

    kind: type[Exception]
    code: CodeType
    line: int


def origin_of(error: Exception) -> Origin:
    """Of an exception that was caught."""
    assert error.__traceback__ is not None
    raised_in = list(_traceback(error))[-1]
    return Origin(type(error), raised_in.tb_frame.f_code, raised_in.tb_lineno)


def is_of_forward(error: Exception) -> bool:
    """Whether it has left a module call."""
    return any(is_call(entry.tb_frame) for entry in _traceback(error))


class ErrorWatch:
    """Reports an exception once, of the innermost module call that it leaves."""

    def __init__(self, raises: Raises, is_ours: Callable[[], bool]) -> None:
        """`raises` gets the module, the frames of its call and of its forward, which is over, and the exception.

        `is_ours`: whether what runs now, on this thread, belongs to the run; a look at the stop raises the like of it.
        """
        self._raises, self._is_ours = raises, is_ours
        self._handle: RemovableHandle | None = None
        self._wanted: Origin | None = None
        self._told: BaseException | None = None

    def switch(self, wanted: Origin | None) -> None:
        """Waits for one to be raised again; others are caught by the model. None: for none."""
        self._wanted = wanted
        if wanted is not None and self._handle is None:
            self._handle = register_module_forward_hook(self._ended, always_call=True)
        elif wanted is None and self._handle is not None:
            self._handle.remove()
            self._handle = self._told = None

    def tell(self, error: Exception) -> None:
        """Of an exception that was caught, and will not come again: by the frames that its traceback has."""
        call = next((e.tb_frame for e in reversed([*_traceback(error)]) if is_call(e.tb_frame)), None)
        if call is not None:
            self._report(call.f_locals["self"], call, error)

    def _ended(self, module: nn.Module, _args: Any, output: Any) -> None:
        error = sys.exception()
        if output is not None or not isinstance(error, Exception) or error is self._told or not self._is_ours():
            return
        if origin_of(error) != self._wanted:
            return
        self._told = error
        self._report(module, call_frame(sys._getframe(1)), error)

    def _report(self, module: nn.Module, call: FrameType, error: Exception) -> None:
        code = getattr(forward_of(type(module)), "__code__", None)
        entries = itertools.dropwhile(lambda e: e.tb_frame is not call, _traceback(error))
        forward = next((e.tb_frame for e in entries if e.tb_frame.f_code is code), None)
        self._raises(module, call, forward, error)


def _traceback(error: BaseException) -> Iterator[TracebackType]:
    """Its entries, from the frame that caught it to the one that raised it."""
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next
