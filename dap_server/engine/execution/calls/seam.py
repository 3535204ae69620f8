"""What stands in the place of `nn.Module.__call__` and of `generate`, while an editor is attached.

Inside of a call that has been taken it costs a look at a thread's own flag, and nothing else.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Protocol

from torch import nn
from transformers.generation.utils import GenerationMixin

from dap_server.engine.execution.activations import is_call, outward
from dap_server.engine.execution.calls.replacing import Replacements


class Takes(Protocol):
    """Runs a call that comes to the seam from outside of any other."""

    def forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    def generate(self, generate: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`generate` is the function of transformers."""
        ...


class Here(threading.local):
    """Of one thread."""

    is_inside = False
    """Whether it is inside of a call that has been taken, or that is left alone: calls in it belong to it."""


class Seam:
    """Stands there between `install` and `remove`."""

    def __init__(self, takes: Takes) -> None:
        self.here = Here()
        self._takes = takes
        self._replaced = Replacements()
        self._in_flight: set[int] = set()

    def install(self) -> None:
        """Calls that are under way go on as they began."""
        self._in_flight = set(sys._current_frames())
        self._replaced.put(nn.Module, "__call__", self._call())
        self._replaced.put(GenerationMixin, "generate", self._generate(GenerationMixin.generate))

    def remove(self) -> None:
        self._replaced.undo()

    def _call(self) -> Callable[..., Any]:
        here, takes, is_in_flight = self.here, self._takes, self._is_in_flight

        def __call__(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if here.is_inside or is_in_flight():
                if self._compiled_call_impl is not None:
                    return self._compiled_call_impl(*args, **kwargs)
                return self._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]  # torch's own
            return takes.forward(self, args, kwargs)

        return __call__

    def _generate(self, original: Callable[..., Any]) -> Callable[..., Any]:
        here, takes, is_in_flight = self.here, self._takes, self._is_in_flight

        @functools.wraps(original)
        def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
            if here.is_inside or is_in_flight():
                return original(self, *args, **kwargs)
            return takes.generate(original, self, args, kwargs)

        return generate

    def _is_in_flight(self) -> bool:
        """Whether this thread is in a call that began before the seam was there."""
        if not self._in_flight or threading.get_ident() not in self._in_flight:
            return False
        if is_in_model(sys._getframe(2)):
            return True
        self._in_flight.discard(threading.get_ident())
        return False


_GENERATE = GenerationMixin.generate.__wrapped__.__code__  # behind its no_grad


def is_in_model(frame: FrameType | None) -> bool:
    """Whether a frame runs in a call of a model."""
    return any(is_call(one) or one.f_code is _GENERATE for one in outward(frame))


def bound(generate: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of `generate` by their names, options of the generation among them."""
    code = generate.__code__ if not hasattr(generate, "__wrapped__") else generate.__wrapped__.__code__
    return {**dict(zip(code.co_varnames[1:], args, strict=False)), **kwargs}
