"""An instrument of the tests: any module calls of a step, by value, as a replay comes past them."""

from __future__ import annotations

from types import FrameType
from typing import Any

from torch import nn

from dap_server.engine.execution.probes import Captured, Enough
from dap_server.engine.execution.values import by_value


class CaptureProbe:
    """Holds the arguments and outputs of a few module calls, and ends the replay when it has them."""

    def __init__(self, wanted: set[tuple[str, int]]) -> None:
        """`wanted`: paths and occurrences."""
        self.found: dict[tuple[str, int], Captured] = {}
        self._wanted = wanted
        self._counts: dict[str, int] = {}
        self._missing = set(wanted)

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        self._counts[path] = self._counts.get(path, -1) + 1
        key = (path, self._counts[path])
        if key in self._wanted:
            self.found[key] = Captured(by_value(tuple(call.f_locals["args"])), by_value(dict(call.f_locals["kwargs"])))

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        key = (path, self._counts.get(path, 0))
        if key in self._wanted:
            self.found[key].output = by_value(output)
            self._missing.discard(key)
            if not self._missing:
                raise Enough
