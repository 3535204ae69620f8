"""An edit as somebody asks for it in a frame, before it is known in which steps, and with which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import Option, Prompt, Steps, StoredValue, Target, Token
from dap_server.engine.execution.edits.selection import CannotEdit

Which = Literal["this", "onwards", "all"]
"""The step of the frame, all from it on, or all from the prefill on."""


@dataclass(frozen=True)
class Proposal:
    """One edit.

    Attributes:
        steps: None is `this` for a token, and `onwards` for everything else.
        later: how many steps behind that of the frame, for the second of several tokens and those after it.
    """

    target: Target
    change: Change
    steps: Which | None = None
    later: int = 0


@dataclass(frozen=True)
class Proposed:
    """What a named intervention gives in the console: it is done when it stands there by itself."""

    edits: tuple[Proposal, ...]

    def __repr__(self) -> str:
        return "<an edit: write it by itself to have it done>"


@dataclass(frozen=True)
class Undone:
    """`undo()` in the console: of one edit by its number, else of the last one."""

    id: int | None = None

    def __repr__(self) -> str:
        return "<an undo: write it by itself to have it done>"


@dataclass(frozen=True)
class Listed:
    """`edits()` in the console."""


def which_by_default(target: Target) -> Which:
    """Of a value that somebody writes another one in the place of: what lasts is changed for good."""
    return "onwards" if isinstance(target, StoredValue | Option) else "this"


def steps_of(target: Target, which: Which | None, step: int) -> Steps:
    """In which steps an edit applies that was made in a frame of `step`. Raises CannotEdit."""
    if isinstance(target, Prompt):
        return Steps(0)
    which = which or ("this" if isinstance(target, Token) else "onwards")
    known = {"this": Steps(step, step), "onwards": Steps(step), "all": Steps(0)}
    if which not in known:
        raise CannotEdit(f"steps are 'this', 'onwards' or 'all', and not {which!r}")
    return known[which]
