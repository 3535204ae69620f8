"""Attributes of classes that are others for a while."""

from __future__ import annotations

from typing import Any, NamedTuple


class _Replaced(NamedTuple):
    owner: type
    name: str
    original: Any
    ours: Any


class Replacements:
    """Puts attributes in the place of others, and takes out what is still there."""

    def __init__(self) -> None:
        self._all: list[_Replaced] = []

    def put(self, owner: type, name: str, ours: Any) -> None:
        self._all.append(_Replaced(owner, name, vars(owner)[name], ours))
        setattr(owner, name, ours)

    def undo(self) -> None:
        """As it was. What somebody else has wrapped meanwhile stays: it calls ours, which then do nothing."""
        for one in reversed(self._all):
            if vars(one.owner).get(one.name) is one.ours:
                setattr(one.owner, one.name, one.original)
        self._all.clear()
