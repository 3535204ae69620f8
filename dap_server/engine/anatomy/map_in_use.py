"""The model map that a session points into: which file it is, and where each place stands in it."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.modelmap.comparing import misfits
from dap_server.modelmap.files import MapFile, UnreadableMap
from dap_server.modelmap.places import Phase
from dap_server.modelmap.text import SUFFIX, MapLine, MapText, ModelMap, write_map

MISFITS_SHOWN = 20


class MapPoint(NamedTuple):
    """A place in the text of a map; 1-based. `name` is what people call the file."""

    path: str
    name: str
    line: int
    column: int


class MapInUse:
    """One map. Its lines are found by an index that is made once for every version of the file."""

    def __init__(self, file: MapFile, name: str | None = None) -> None:
        self._file = file
        self.name = name or os.path.basename(file.path)

    @property
    def path(self) -> str:
        return self._file.path

    @property
    def text(self) -> MapText:
        return self._file.text

    def refresh(self) -> None:
        """The file may have been edited; one that is gone stays as it was."""
        with suppress(UnreadableMap):
            self._file.refresh()

    def point(self, name: str, phase: Phase = "before") -> MapPoint | None:
        """Of a module by its path, or of a place of token selection; None if the map has no such line."""
        line = self.text.line_of(name)
        return None if line is None else MapPoint(self.path, self.name, line, self.text.columns(line)[phase == "after"])

    def why_never(self, paths: Sequence[str]) -> str | None:
        """Why no run comes to any of some modules; None if one may, or if the map does not have them."""
        places = [self.text.at(self.text.line_of(path) or 0) for path in paths]
        never = [place.why_not for place in places if place is not None and place.kind == "unused"]
        return never[0] if never and len(never) == len(paths) else None


class MapChoice:
    """Decides which map a session uses; makes one at most once."""

    def __init__(self, anatomy: Anatomy, make: Callable[[str], ModelMap], say: Callable[[str], None]) -> None:
        """`make` makes the map of the model under a name; `say` tells the person what does not fit."""
        self._anatomy, self._make, self._say = anatomy, make, say
        self._used: dict[str, MapInUse] = {}
        self._made: MapInUse | None = None
        self._has_made = False

    def choose(self, given: str | None, candidates: Sequence[str], name: str) -> MapInUse | None:
        """The map of the launch configuration, else the first candidate of this model, else one that is made now.

        Args:
            given: file that the launch configuration names.
            candidates: files in which breakpoints are set.
            name: of the model, as its person calls it.
        """
        for path in ([given] if given else []) + list(candidates):
            if (found := self._used.get(path) or self._read(os.path.expanduser(path), path == given)) is not None:
                self._used[path] = found
                return found
        if not self._has_made:
            self._has_made = True
            self._made = self._keep_new(name)
        return self._made

    def _read(self, path: str, is_asked_for: bool) -> MapInUse | None:
        """The map in a file if it is of this model, and what in it does not fit is told."""
        try:
            file = MapFile(path)
        except UnreadableMap as error:
            if is_asked_for:
                self._say(f"the map of the launch configuration is not used: {error}\n")
            return None
        kind = type(self._anatomy.model).__name__
        if all(line.kind == "selection" for line in file.text.lines.values()):
            self._say(f"{file.path} is not used: it is no model map, it has no lines of modules\n")
            return None
        if not _is_of(file.text, self._anatomy):
            self._say(f"{file.path} is not used: it is the map of another model than this {kind}\n")
            return None
        self._say_what_is_wrong(file, kind)
        return MapInUse(file)

    def _say_what_is_wrong(self, file: MapFile, kind: str) -> None:
        """Line by line, what cannot be read and what does not fit the model."""
        unread, unfit = file.text.problems, misfits(file.text, outline(self._anatomy, file.text))
        found = sorted([*unread, *unfit])
        if not found:
            return
        wrong = ["cannot be read as it stands"] if unread else []
        wrong += [f"does not fit the {kind} that is loaded"] if unfit else []
        shown = [f"{file.path}:{p.line}:{p.column}: {p.message}" for p in found[:MISFITS_SHOWN]]
        more = [f"… and {len(found) - MISFITS_SHOWN} more"] if len(found) > MISFITS_SHOWN else []
        self._say("\n".join([f"this map {' and '.join(wrong)}:", *shown, *more, ""]))

    def _keep_new(self, name: str) -> MapInUse | None:
        try:
            slug = re.sub(r"[^\w.-]+", "-", os.path.basename(name.rstrip("/\\"))).strip("-.") or "model"
            return MapInUse(MapFile(kept(write_map(self._make(name)), slug)), slug + SUFFIX)
        except Exception as error:  # a map is a convenience: without one the stack points at Python
            self._say(f"this model has no map: {type(error).__name__}: {error}\n")
            return None


def outline(anatomy: Anatomy, text: MapText) -> ModelMap:
    """The model as far as it is known without running it, with the lines of a map that say more taken as they are."""
    lines = [_line(path, anatomy, text) for path in anatomy.modules]
    selection = [line for line in text.lines.values() if line.kind == "selection"]
    return ModelMap(class_name=type(anatomy.model).__name__, lines=[*lines, *selection])


def _line(path: str, anatomy: Anatomy, text: MapText) -> MapLine:
    module = anatomy.modules[path]
    said = text.at(text.line_of(path) or 0)
    kind = said.kind if said else "module"
    counted = sum(parameter.numel() for parameter in module.parameters()) or None if said else None
    if said and getattr(anatomy.model, "hf_quantizer", None) is not None:
        counted = said.parameters  # packed weights have fewer elements
    return MapLine(path, kind, type(module).__name__, parameters=counted, note=said.note if said else "")


def _is_of(text: MapText, anatomy: Anatomy) -> bool:
    """Whether a map is of this kind of model at all."""
    if text.class_name not in ("", type(anatomy.model).__name__):
        return False
    return any(line.path in anatomy.modules for line in text.lines.values() if line.kind != "selection")


def kept(text: str, slug: str) -> str:
    """The file in the user's cache that has this very map, written if it is not there. Never written again.

    Raises:
        OSError: it cannot be written.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = os.path.join(_cache_folder(), "llm-dap", "maps")
    path = os.path.join(folder, f"{slug}-{digest}{SUFFIX}")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".new", encoding="utf-8", delete=False) as file:
            file.write(text)
        os.replace(file.name, path)  # nobody ever sees half of it
    return path


def _cache_folder() -> str:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return given if os.path.isabs(given) else os.path.join(os.path.expanduser("~"), ".cache")
