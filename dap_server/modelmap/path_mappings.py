"""Where the files of a program on another machine are on the editor's, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_SEPARATORS = re.compile(r"[\\/]+")


class Roots(NamedTuple):
    """One folder, as either machine calls it."""

    local: str
    remote: str


class PathMappings:
    """Of one session; the longest folder that fits counts, and a path in none of them stays as it is."""

    def __init__(self, roots: Sequence[Roots] = ()) -> None:
        self._roots = [Roots(_trimmed(one.local), _trimmed(one.remote)) for one in roots]

    def to_client(self, path: str) -> str:
        """What the editor calls a file of the program."""
        return _moved(path, [(one.remote, one.local) for one in self._roots])

    def to_program(self, path: str) -> str:
        """What the program calls a file of the editor's."""
        return _moved(path, [(one.local, one.remote) for one in self._roots])


def _moved(path: str, roots: list[tuple[str, str]]) -> str:
    for here, there in sorted(roots, key=lambda pair: len(pair[0]), reverse=True):
        rest = _below(path, here)
        if rest is not None:
            return _separator(there).join([there, *rest])
    return path


def _below(path: str, folder: str) -> list[str] | None:
    """The parts of a path behind a folder; None where it does not lie in it. Windows knows no case."""
    parts, wanted = _SEPARATORS.split(path), _SEPARATORS.split(folder)
    same = [part.lower() for part in parts] if _is_windows(folder) else parts
    if same[: len(wanted)] != ([part.lower() for part in wanted] if _is_windows(folder) else wanted):
        return None
    return parts[len(wanted) :]


def _separator(folder: str) -> str:
    return "\\" if _is_windows(folder) else "/"


def _is_windows(folder: str) -> bool:
    return bool(re.match(r"[A-Za-z]:|\\\\", folder))


def _trimmed(folder: str) -> str:
    return folder.rstrip("\\/")
