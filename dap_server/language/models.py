"""The model that a map's header names, as far as it lies in a folder of this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dap_server.language.documents import Document

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_folder(document: Document, workspace: Sequence[Path]) -> Path | None:
    """The folder with the model's config.json. A relative one may begin at the map, above it, or at the workspace."""
    name = document.map.model
    if not name:
        return None
    for base in _bases(name, document.path, workspace):
        folder = base / name
        try:
            if (folder / "config.json").is_file():
                return folder.resolve()
        except (OSError, ValueError):
            return None  # no system has such a path: it is too long, or has a NUL in it
    return None


def may_be_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and not name.startswith(".")


def _bases(name: str, path: Path | None, workspace: Sequence[Path]) -> Iterator[Path]:
    if Path(name).is_absolute():
        yield Path(Path(name).anchor)
        return
    if path is not None:
        yield from path.parents
    yield from workspace
