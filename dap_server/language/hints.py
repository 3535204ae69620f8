"""What a line does not show, in short, behind it."""

from __future__ import annotations

from collections.abc import Iterator

from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.language.quantities import memory, short
from dap_server.modelmap.text import MapLine, MapText


def inlay_hints(document: Document, wanted: types.Range, fresh: MapText | None) -> list[types.InlayHint]:
    """Shapes and parameters that the model is known to have, what a list adds up to, and the size of the model."""
    hints = []
    places = {line.path: line for line in fresh.lines.values()} if fresh else {}
    first, last = wanted.start.line + 1, wanted.end.line + 1
    for number, line in document.map.lines.items():
        if first <= number <= last and (text := ", ".join(_missing(document.map, line, places.get(line.path)))):
            hints.append(_hint(document, number, text))
    number, _ = document.map.header.get("parameters", (0, None))
    size = memory(document.map.parameters or 0, document.map.dtype)
    if first <= number <= last and size:
        hints.append(_hint(document, number, size))
    return hints


def _missing(text: MapText, line: MapLine, model: MapLine | None) -> Iterator[str]:
    if line.kind == "selection":
        return
    if model and not line.class_name:
        yield model.class_name
    if model and model.inputs and model.output and not (line.inputs and line.output):
        yield f"{model.inputs} → {model.output}"
    if line.parameters is None:
        parameters = model.parameters if model else _added_up(text, line)
        if parameters:
            yield f"{short(parameters)} parameters"


def _added_up(text: MapText, line: MapLine) -> int:
    """The parameters of what is directly inside of a list; 0 where they are not all known."""
    if line.kind != "list":
        return 0
    inside = [other for other in text.lines.values() if other.path.rpartition(".")[0] == line.path and other.path]
    return sum(other.parameters or 0 for other in inside)


def _hint(document: Document, number: int, text: str) -> types.InlayHint:
    end = len(document.text.lines[number - 1].rstrip())
    comment = document.map.spans.get(number, {}).get("comment")
    if comment:
        end = len(document.text.lines[number - 1][: comment.start - 1].rstrip())
    return types.InlayHint(document.text.position(number - 1, end), text, padding_left=True)
