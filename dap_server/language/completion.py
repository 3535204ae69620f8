"""What may be written next in a map: places, and their classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.modelmap.places import PSEUDO_MODULES
from dap_server.modelmap.text import MapLine, MapText, Span, written_path

_PATH = re.compile(r"\s*(\S*)$")
_CLASS = re.compile(r"\s*(\S+)\s\s+(\w*)$")


def completions(document: Document, position: types.Position, fresh: MapText | None) -> list[types.CompletionItem]:
    """Of the places of this map and, where it is known, of the model as it is. Nothing in a comment."""
    if position.line >= len(document.text.lines):
        return []
    line = document.text.lines[position.line]
    column = document.text.column(position)
    before = line[:column]
    if re.search(r"(^|\s)#", before):
        return []
    places = _places(document.map, fresh, position.line + 1)
    if match := _PATH.fullmatch(before):
        return _paths(document, position.line, Span(match.start(1) + 1, column + 1), match[1], places)
    if match := _CLASS.fullmatch(before):
        edit = document.range(position.line + 1, Span(match.start(2) + 1, column + 1))
        return _classes(edit, "" if match[1] == "." else match[1], places, document.map)
    return []


def _places(text: MapText, fresh: MapText | None, written: int) -> dict[str, MapLine]:
    """The model's own, and those of the map but for the line that is being written."""
    places = {line.path: line for line in fresh.lines.values()} if fresh else {}
    for number, line in text.lines.items():
        if number != written:
            places.setdefault(line.path, line)
    return places


def _paths(
    document: Document, line: int, span: Span, typed: str, places: dict[str, MapLine]
) -> list[types.CompletionItem]:
    """The next name of the path alone: behind a dot the modules directly inside."""
    around = typed.rpartition(".")[0]
    edit = document.range(line + 1, Span(span.start + (len(around) + 1 if around else 0), span.end))
    missing = {path for path in places if path not in document.map.numbers}
    found: dict[str, types.CompletionItem] = {}
    for path, place in places.items():
        if place.kind == "selection" and around:
            continue
        name = "." if not path and not around else written_path(path).removeprefix(f"{around}.") if around else path
        inside = not around or written_path(path).startswith(f"{around}.")
        first = name if name == "." or place.kind == "selection" else name.partition(".")[0]
        if (around and not path) or not inside or not first or first in found:
            continue
        whole = places.get(f"{around}.{first}" if around else first, place)
        found[first] = types.CompletionItem(
            label=first,
            kind=_kind(whole),
            detail=whole.class_name or whole.note or None,
            sort_text=f"{'0' if whole.path in missing else '1'}{len(found):05}",
            text_edit=types.TextEdit(edit, first),
        )
    return list(found.values())


def _kind(line: MapLine) -> types.CompletionItemKind:
    return types.CompletionItemKind.Event if line.kind == "selection" else types.CompletionItemKind.Module


def _classes(edit: types.Range, path: str, places: dict[str, MapLine], text: MapText) -> list[types.CompletionItem]:
    """The class that the module has, or else those of the map."""
    if path in PSEUDO_MODULES:
        return []
    own = places[path].class_name if path in places else ""
    names: Iterable[str] = [own] if own else dict.fromkeys(_class_names(text))
    return [
        types.CompletionItem(label=name, kind=types.CompletionItemKind.Class, text_edit=types.TextEdit(edit, name))
        for name in names
    ]


def _class_names(text: MapText) -> Iterator[str]:
    yield from text.classes
    yield from (line.class_name for line in text.lines.values() if line.class_name)
