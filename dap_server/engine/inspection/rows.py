"""Rows of a variables view, and what they open to."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from dap_server.engine.execution import memory
from dap_server.engine.inspection.tensors.raw_bytes import Memory
from dap_server.protocol.errors import RequestError

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What a value may raise when it is touched."""

_PRIMARY = ast.Name | ast.Attribute | ast.Subscript | ast.Call
"""Expressions that `[0]` and `.name` can follow as they are."""


class Children(Protocol):
    """What a row opens to."""

    named: int
    """How many children have names; -1 when only opening tells."""
    indexed: int
    """How many children have numbers; they come in pages."""

    def named_rows(self) -> list[Row]: ...

    def indexed_rows(self, start: int, count: int) -> list[Row]: ...


@dataclass
class Row:
    """One line of a variables view.

    Attributes:
        expression: Python that gives this value in the frame, where there is one.
        memory: the bytes of a tensor.
        data: what a data breakpoint watches that stands on it, where no expression says so.
        edit: what is assigned to when somebody types another value, where that is not the expression.
    """

    name: str
    value: str
    type: str | None = None
    children: Children | None = None
    expression: str | None = None
    memory: Memory | None = None
    data: str | None = None
    edit: str | None = None


class Rows:
    """A fixed list of named rows, made when it is opened."""

    named, indexed = -1, 0

    def __init__(self, make: Callable[[], list[Row]]) -> None:
        self._make = make

    def named_rows(self) -> list[Row]:
        return guarded(self._make)

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        return []


class Paged(ABC):
    """Children that have numbers alone, made page by page."""

    named = 0

    def __init__(self, count: int) -> None:
        self.indexed = count

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        return guarded(lambda: self._page(start, count))

    @abstractmethod
    def _page(self, start: int, count: int) -> list[Row]: ...


def guarded(make: Callable[[], list[Row]]) -> list[Row]:
    """Rows, or one row with what was raised while they were made, by a value or by a model that ran again."""
    try:
        with torch._C.DisableTorchFunctionSubclass():  # what a subclass makes of its operators is its own affair
            return make()
    except RequestError:
        raise
    except RAISED as error:
        if memory.explained(error) is not error:
            raise
        return [Row("error", reason(error))]


def row_named(children: Children, name: str) -> Row | None:
    """One of the rows that something opens to, whether it was listed or not."""
    rows = children.named_rows()
    number = name[1:-1]
    if name == f"[{number}]" and number.isdigit() and int(number) < children.indexed:
        rows = [*rows, *children.indexed_rows(int(number), 1)]
    return next((row for row in rows if row.name == name), None)


def reason(error: BaseException) -> str:
    """`RuntimeError: do not look`: what somebody's code raised, on one line."""
    try:
        text = " ".join(str(error).split())
    except RAISED:
        text = "an error that cannot be shown"
    return f"{type(error).__name__}: {text}"


def member(expression: str | None, suffix: str) -> str | None:
    """The expression of a part of a value: `x` and `[0]` make `x[0]`, `a + b` and `[0]` make `(a + b)[0]`."""
    if expression is None:
        return None
    try:
        is_primary = isinstance(ast.parse(expression.strip(), mode="eval").body, _PRIMARY)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return f"{expression}{suffix}" if is_primary else f"({expression}){suffix}"
