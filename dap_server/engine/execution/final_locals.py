"""The local names of a `forward` that has returned: its call runs again, and is watched as it returns."""

from __future__ import annotations

import dis
import sys
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from torch import nn

from dap_server.engine.anatomy.modules import forward_of
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.probes import Enough, is_again
from dap_server.engine.execution.returns import RETURNS
from dap_server.engine.execution.values import by_value
from dap_server.modelmap.places import LOGITS, Phase


@dataclass(frozen=True)
class FinalLocals:
    """Names by value, since models write into tensors later on, and the line of the `return`."""

    names: dict[str, Any]
    line: int


class FinalLocalsProbe:
    """Holds the local names of one module's `forward`, of a call that is suspended or of the last one before it.

    The profile function of Python sees the return; it is set during calls of that module only, on this thread alone.
    """

    def __init__(self, path: str, suspended: Activation | None) -> None:
        self.found: FinalLocals | None = None
        self._path, self._suspended = path, suspended
        self._is_last = self._is_on = False
        self._previous: Any = None

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if is_again(self._suspended, module, call):
            self._is_last = True
            if path != self._path and self.found is not None:
                raise Enough
        if path == self._path:
            self._watch(module)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path == self._path:
            self.close()
            if self._is_last and self.found is not None:
                raise Enough

    def at(self, name: str, phase: Phase) -> None:
        """Token selection may call the model too, which is not meant."""
        if name == LOGITS and self._suspended is None:
            raise Enough

    def close(self) -> None:
        """Puts back the profile function that was there."""
        if self._is_on:
            sys.setprofile(self._previous)
            self._is_on = False

    def _watch(self, module: nn.Module) -> None:
        code = code_of(module)
        if code is None or self._is_on:
            return

        def profile(frame: FrameType, event: str, _value: Any) -> None:
            if event == "return" and frame.f_code is code and frame.f_locals.get(code.co_varnames[0]) is module:
                names = {name: value for name, value in frame.f_locals.items() if name != "__class__"}
                self.found = FinalLocals(by_value(names), frame.f_lineno)

        self._previous, self._is_on = sys.getprofile(), True
        sys.setprofile(profile)


def code_of(module: nn.Module) -> CodeType | None:
    """Of a module's own `forward`; None when that is no Python function."""
    code = getattr(forward_of(type(module)), "__code__", None)
    return code if isinstance(code, CodeType) and code.co_varnames else None


def return_line(code: CodeType) -> int | None:
    """The line that a function returns from; None when it has several: only running it tells which."""
    lines = {at.positions.lineno for at in dis.get_instructions(code) if at.opcode in RETURNS and at.positions}
    return lines.pop() if len(lines) == 1 else None
