"""Children that a program forks. They are plain processes: no editor hears of them, and none of them stops."""

from __future__ import annotations

import os
from collections.abc import Callable

_forget: list[Callable[[], None]] = []


def in_children(forget: Callable[[], None]) -> Callable[[], None]:
    """Has every child begin with this, from now on until what is returned is called.

    Only the thread that forked is there. Others may have held any lock, which nobody releases any more.
    """
    _forget.append(forget)

    def undo() -> None:
        if forget in _forget:
            _forget.remove(forget)

    return undo


def _forked() -> None:
    while _forget:
        _forget.pop()()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
