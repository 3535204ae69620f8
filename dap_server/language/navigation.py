"""From a place to its Python, to the other places of its class, and to the files that a map names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lsprotocol import types

from dap_server.language.documents import Document, uri_of
from dap_server.language.models import may_be_hub_id
from dap_server.language.python_sources import Definition, find_class, find_method, module_file
from dap_server.language.text import Text
from dap_server.modelmap.places import PSEUDO_MODULES
from dap_server.modelmap.text import Span

LOGITS_PROCESSORS = "transformers.generation.logits_process"
"""Where the classes are written that stand on lines of token selection, unless the map says otherwise."""
HUB = "https://huggingface.co/"
_CLASS_LINE = re.compile(r"(#\s*)(\w+)(:\s*)(\S+)$")


class ClassEntry(NamedTuple):
    """A line of the table at the end of a map: which module writes a class."""

    number: int
    name: str
    name_span: Span
    module: str
    module_span: Span


def class_entries(document: Document) -> Iterator[ClassEntry]:
    text = document.map
    for number, comment in text.comments.items():
        match = _CLASS_LINE.match(comment)
        if match is None or number in text.lines or text.classes.get(match[2]) != match[4]:
            continue
        start = len(document.text.lines[number - 1]) - len(document.text.lines[number - 1].lstrip()) + 1
        spans = [Span(start + match.start(group), start + match.end(group)) for group in (2, 4)]
        yield ClassEntry(number, match[2], spans[0], match[4], spans[1])


def class_of(document: Document, position: types.Position) -> str:
    """The class of the place, or of the line of the table, at a position; empty where there is none."""
    found = document.place_at(position)
    if found is not None:
        line = found[1]
        return line.class_name or (line.path if line.kind == "selection" and line.path not in PSEUDO_MODULES else "")
    entries = (entry.name for entry in class_entries(document) if entry.number == position.line + 1)
    return next(entries, "")


def _module_of(document: Document, name: str, position: types.Position) -> str:
    """In which the class is written; empty if that is not known."""
    place = document.place_at(position)
    selection = place is not None and place[1].kind == "selection" and name
    return document.map.classes.get(name, LOGITS_PROCESSORS if selection else "")


def class_definition(
    document: Document, position: types.Position, folder: Path | None, encoding: str
) -> list[types.LocationLink]:
    """The line of the class in Python."""
    name = class_of(document, position)
    module = _module_of(document, name, position)
    found = find_class(module, name, folder) if module else None
    return [_link(document, position, found, encoding)] if found else []


def forward_definition(
    document: Document, position: types.Position, folder: Path | None, encoding: str
) -> list[types.LocationLink]:
    """What runs at the place: `forward`, or `__call__` of a logits processor."""
    name = class_of(document, position)
    module = _module_of(document, name, position)
    place = document.place_at(position)
    method = "__call__" if place and place[1].kind == "selection" else "forward"
    found = find_method(module, name, method, folder) if module else None
    return [_link(document, position, found, encoding)] if found else []


def definition(
    document: Document, position: types.Position, folder: Path | None, encoding: str
) -> list[types.LocationLink]:
    """Of a path what runs there, of a class the class."""
    place = document.place_at(position)
    on_path = place is not None and document.text.column(position) < document.map.spans[place[0]]["path"].end
    forward = forward_definition(document, position, folder, encoding) if on_path else []
    return forward or class_definition(document, position, folder, encoding)


def references(document: Document, position: types.Position) -> list[types.Location]:
    """The lines of all instances of the class."""
    return [types.Location(document.uri, document.range(number, document.map.spans[number]["path"]))
            for number in _instances(document, position)]  # fmt: skip


def highlights(document: Document, position: types.Position) -> list[types.DocumentHighlight]:
    spans = ((number, document.map.spans[number].get("class_name")) for number in _instances(document, position))
    return [types.DocumentHighlight(document.range(number, span), types.DocumentHighlightKind.Text)
            for number, span in spans if span]  # fmt: skip


def links(document: Document, folder: Path | None) -> list[types.DocumentLink]:
    """The model's config, and the file of every module in the table of classes."""
    found = []
    if "model" in document.map.header:
        number, span = document.map.header["model"]
        if folder is not None:
            target, tooltip = uri_of(folder / "config.json"), "Open config.json"
        else:
            target, tooltip = HUB + document.map.model, "Open the model's page"
        if folder is not None or may_be_hub_id(document.map.model):
            found.append(types.DocumentLink(document.range(number, span), target, tooltip))
    files: dict[str, Path | None] = {}
    for entry in class_entries(document):
        if entry.module not in files:
            files[entry.module] = module_file(entry.module, folder)
        if file := files[entry.module]:
            where = document.range(entry.number, entry.module_span)
            found.append(types.DocumentLink(where, uri_of(file), f"Open {file.name}"))
    return found


def _instances(document: Document, position: types.Position) -> list[int]:
    name = class_of(document, position)
    if not name:
        return []
    return [number for number, line in document.map.lines.items() if name in (line.class_name, line.path)]


def _link(document: Document, position: types.Position, found: Definition, encoding: str) -> types.LocationLink:
    text = Text(found.file.read_text(encoding="utf-8"), encoding)
    name = text.range(found.line, found.column, found.end_column)
    end = text.position(found.last_line, len(text.lines[found.last_line]))
    return types.LocationLink(
        target_uri=uri_of(found.file),
        target_range=types.Range(types.Position(found.line, 0), end),
        target_selection_range=name,
        origin_selection_range=_origin(document, position),
    )


def _origin(document: Document, position: types.Position) -> types.Range | None:
    """The field of the line that was pointed at."""
    number, column = position.line + 1, document.text.column(position) + 1
    spans = document.map.spans.get(number, {})
    under = (span for name, span in spans.items() if name != "comment" and span.start <= column <= span.end)
    span = next(under, None)
    return document.range(number, span) if span else None
