"""Module calls that are live on the Python stack. Found by looking at frames, so that a free run needs no hook."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

from torch import nn

from dap_server.engine.anatomy.modules import forward_of

_CALL = nn.Module._call_impl.__code__

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""What a module is called with: `args` and `kwargs`."""


class Activation(NamedTuple):
    """One running call of a module.

    Attributes:
        frame: of `Module._call_impl`; it is the identity of the call.
        forward: of the module's own `forward`, None before it began or after it returned.
    """

    module: nn.Module
    frame: FrameType
    forward: FrameType | None

    @property
    def args(self) -> tuple[Any, ...]:
        return tuple(self.frame.f_locals["args"])

    @property
    def kwargs(self) -> dict[str, Any]:
        return dict(self.frame.f_locals["kwargs"])


def live_activations(frame: FrameType | None = None) -> list[Activation]:
    """The running module calls of this thread, innermost first."""
    return activations_in(outward(frame or sys._getframe(1)))


def activations_in(frames: Iterable[FrameType]) -> list[Activation]:
    """The module calls among frames, which come innermost first: of a live stack, or of a traceback."""
    found: list[Activation] = []
    python: list[FrameType] = []
    for current in frames:
        if current.f_code is not _CALL:
            python.append(current)
            continue
        module: nn.Module = current.f_locals["self"]
        code = getattr(forward_of(type(module)), "__code__", None)
        forward = next((f for f in python if f.f_code is code), None)
        found.append(Activation(module, current, forward))
        python = []
    return found


def is_call(frame: FrameType) -> bool:
    """Whether it is a frame of a module call."""
    return frame.f_code is _CALL


def enclosing_call(frame: FrameType) -> FrameType | None:
    """The `_call_impl` frame around the given one, None at the top: identifies the parent call."""
    return next((f for f in outward(frame.f_back) if f.f_code is _CALL), None)


def call_frame(frame: FrameType) -> FrameType:
    """The `_call_impl` frame that runs a hook whose frame is given."""
    while frame.f_code is not _CALL:
        assert frame.f_back is not None
        frame = frame.f_back
    return frame


def running_processor(call: FrameType) -> tuple[Any, FrameType] | None:
    """The logits processor that calls the model, as guidance does, and the frame of its `__call__`.

    `call` is the outermost module call, which is made while a token is chosen.
    """
    for frame in outward(call.f_back):
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name == "__call__" and owner is not None and not isinstance(owner, (list, nn.Module)):
            return owner, frame
    return None


def is_live(call: FrameType, frame: FrameType) -> bool:
    """Whether a call is still on the stack that `frame` is the top of."""
    return any(f is call for f in outward(frame))


def outward(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those around it, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back
