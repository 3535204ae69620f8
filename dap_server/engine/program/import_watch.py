"""Files in which somebody wants to stop, and from which nothing has been loaded yet.

Editors send the breakpoints of every file they have. A program that never loads such a file should not run slower for
it, so it is not debugged by lines before something is imported from there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class ImportWatch(MetaPathFinder):
    """Sees the imports of this process while it waits for one. It finds nothing: those behind it do."""

    def __init__(self, loads: Callable[[str], None]) -> None:
        """`loads` is told that a file is about to be loaded, on the thread that imports it."""
        self._loads = loads
        self._files: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        return bool(self._files)

    def wait_for(self, files: set[str]) -> None:
        """Replaces those that are waited for."""
        self._files = {os.path.realpath(file) for file in files}
        if self._files and self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        elif not self._files and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if self._may_be(fullname) else None
        if spec is not None and spec.origin is not None and (file := os.path.realpath(spec.origin)) in self._files:
            self._files.discard(file)
            self._loads(file)
        return None

    def _may_be(self, name: str) -> bool:
        """Whether one of the files has the name that a module of this name would have."""
        last = name.rpartition(".")[2]
        return any(os.path.basename(file) in (f"{last}.py", "__init__.py") for file in self._files)


def is_loaded(file: str) -> bool:
    """Whether a module of this process comes from a file."""
    real, name = os.path.realpath(file), os.path.basename(file)
    return any(os.path.realpath(origin) == real for origin in _origins() if os.path.basename(origin) == name)


def _origins() -> list[str]:
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [file for file in files if isinstance(file, str)]
