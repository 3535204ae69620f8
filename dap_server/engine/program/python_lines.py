"""Breakpoints on lines of Python as somebody wants them, and what has become of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dap_server.conditions.hits import parse_hit_condition


@dataclass(frozen=True)
class Line:
    """A breakpoint on a line of a Python file."""

    id: int
    path: str
    line: int
    condition: str | None = None
    hit_condition: str | None = None
    log_message: str | None = None

    def for_debugpy(self) -> dict[str, Any]:
        """Hits are counted by us, in its condition: debugpy takes a condition and a number of hits as alternatives."""
        condition, asked = self.condition, {"line": self.line}
        if self.hit_condition:
            _hits.setdefault(self, 0)
            _counted[self.id] = self
            condition = f"({condition}\n) and {COUNT.format(self.id)}" if condition else COUNT.format(self.id)
        texts = {"condition": condition, "logMessage": self.log_message}
        return {**asked, **{name: text for name, text in texts.items() if text}}


@dataclass(frozen=True)
class LineState:
    """What has become of one."""

    id: int
    is_verified: bool
    line: int | None = None
    message: str | None = None
    is_pending: bool = False


def state_of(id: int, known: dict[str, Any]) -> LineState:
    is_verified = known["verified"]
    return LineState(id, is_verified, known.get("line"), None if is_verified else known.get("message"))


def count_anew() -> None:
    """Another run begins."""
    for line in _hits:
        _hits[line] = 0


def is_met(id: int) -> bool:
    """Counts a hit of the line of this id. Whether it is one to stop at."""
    line = _counted[id]
    _hits[line] += 1
    return parse_hit_condition(line.hit_condition or "").is_met(_hits[line])


_hits: dict[Line, int] = {}
_counted: dict[int, Line] = {}
COUNT = "__import__('dap_server.engine.program.python_lines').engine.program.python_lines.is_met({})"
