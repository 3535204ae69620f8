"""What is wrong in a map: what cannot be read, what is missing, and what does not fit the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.language.fresh_maps import FreshMapError, as_model_map
from dap_server.language.models import may_be_hub_id
from dap_server.modelmap.text import MapText, Problem, Span, differences

SOURCE = "llm-dap"
Fresh = MapText | FreshMapError | None
"""The map of the model as it is, or why there is none, or that it is not known (yet)."""


def diagnostics(document: Document, folder: Path | None, fresh: Fresh) -> list[types.Diagnostic]:
    severity = types.DiagnosticSeverity
    found = [
        (severity.Error, "unreadable", document.map.problems),
        (severity.Information, "parent", list(_parents(document))),
        (severity.Information, "header", list(_header(document, folder))),
    ]
    if isinstance(fresh, FreshMapError):
        text = f"this map could not be compared with the model: {fresh}"
        found.append((severity.Information, "model", [_at_model(document, text)]))
    elif fresh is not None:
        found.append((severity.Warning, "fit", differences(document.map, as_model_map(fresh))))
    return [
        types.Diagnostic(document.range(p.line, Span(p.column, p.end_column)), p.message, level, code, source=SOURCE)
        for level, code, problems in found
        for p in problems
    ]


def _parents(document: Document) -> Iterator[Problem]:
    """Told once for each module that has no line, at the first line inside of it."""
    known = document.map.numbers
    told: set[str] = set()
    for number, line in document.map.lines.items():
        parent = line.path.rpartition(".")[0]
        if line.kind == "selection" or not parent or parent in known or parent in told:
            continue
        told.add(parent)
        span = document.map.spans[number]["path"]
        yield Problem(number, *span, f"'{parent}', the module around this one, has no line")


def _header(document: Document, folder: Path | None) -> Iterator[Problem]:
    text = document.map
    if text.problems and text.problems[0].line == 1:
        return  # no map at all: that it names no model follows
    if not text.model:
        yield _at_model(document, "the header names no model: a line '# model: …' says which one this is the map of")
    elif folder is None and not may_be_hub_id(text.model):
        yield _at_model(document, f"there is no folder '{text.model}' with a config.json to compare this map with")


def _at_model(document: Document, message: str) -> Problem:
    line, span = document.map.header.get("model", (1, Span(1, len(document.text.lines[0]) + 1)))
    return Problem(line, *span, message)
