"""An exception in words: what it is, what it came from, and the way that it took."""

from __future__ import annotations

import itertools
import traceback
from dataclasses import dataclass, field
from types import TracebackType

from dap_server.engine.inspection.python_frames import is_ours
from dap_server.engine.inspection.rows import RAISED, reason

DEEPEST = 20
"""Links of a chain of causes that are told."""
MOST = 20
"""Members of a group that are told."""


@dataclass(frozen=True)
class Raised:
    """One exception.

    Attributes:
        kind: the name of its class, with its module where that is not Python's own.
        message: what it says of itself.
        trace: as Python prints it, with its causes, without frames of a debugger.
        because: what it was raised from, or while; of a group its members.
    """

    kind: str
    message: str
    trace: str = ""
    because: list[Raised] = field(default_factory=list)


def leave_out_ours(error: BaseException, depth: int = DEEPEST) -> None:
    """Takes the debugger's frames out of a traceback that is about to be printed, and out of those of its causes."""
    error.__traceback__ = _without_ours(error.__traceback__)
    members = error.exceptions[:MOST] if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *members):
        if other is not None and depth:
            leave_out_ours(other, depth - 1)


def _without_ours(entry: TracebackType | None) -> TracebackType | None:
    entries: list[TracebackType] = []
    while entry is not None:
        if not is_ours(entry.tb_frame.f_code.co_filename):
            entries.append(entry)
        entry = entry.tb_next
    for one, following in itertools.zip_longest(entries, entries[1:]):
        one.tb_next = following
    return entries[0] if entries else None


def described(error: BaseException) -> Raised:
    """What somebody's code does not let be shown is said in its place."""
    try:
        whole = traceback.TracebackException.from_exception(error, compact=True)
        _strip(whole, DEEPEST)
        trace = "".join(whole.format())
    except RAISED as problem:
        trace = f"the traceback cannot be shown: {reason(problem)}"
    return _described(error, trace, DEEPEST)


def _described(error: BaseException, trace: str, depth: int) -> Raised:
    because: list[BaseException] = []
    if depth and isinstance(error, BaseExceptionGroup):
        because.extend(error.exceptions[:MOST])
    if depth and error.__cause__ is not None:
        because.append(error.__cause__)
    elif depth and error.__context__ is not None and not error.__suppress_context__:
        because.append(error.__context__)
    return Raised(_kind(error), _message(error), trace, [_described(one, "", depth - 1) for one in because])


def _kind(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except RAISED as problem:
        return f"<its text cannot be shown: {reason(problem)}>"


def _strip(shown: traceback.TracebackException, depth: int) -> None:
    shown.stack = traceback.StackSummary.from_list([one for one in shown.stack if not is_ours(one.filename)])
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None and depth:
            _strip(other, depth - 1)
