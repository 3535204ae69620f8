"""A step that runs again because something in it was found out late: who stops it this time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SecondLook:
    """A step of which everything is judged at once.

    Attributes:
        step: the one that runs again.
        is_silent: whether the run has been here before, so that only what was found out late stops it.
        error: whether an exception was raised in that step.
    """

    step: int
    is_silent: bool = True
    error: bool = False
