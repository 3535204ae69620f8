"""Colours: what each word of a map is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.modelmap.text import Span

TYPES = ["comment", "keyword", "string", "namespace", "number", "class", "typeParameter", "event"]
"""Standard ones, which every theme colours."""
LEGEND = types.SemanticTokensLegend(token_types=TYPES, token_modifiers=[])
COMMENT, KEYWORD, STRING, NAMESPACE, NUMBER, CLASS, TYPE_PARAMETER, EVENT = range(len(TYPES))

_WHOLE = {"class_name": CLASS, "parameters": NUMBER, "flops": NUMBER, "comment": COMMENT, "note": STRING}
"""The fields that are one word."""
_NAME = re.compile(r"[^.]+")
_IN_SHAPE = re.compile(r"[A-Za-z]\w*|\d+")
_HEADER = re.compile(r"\s*(#)\s*([\w-]+):")

Token = tuple[int, int, int]
"""Columns of a line from 0, the end not included, and the number of a type."""


def semantic_tokens(document: Document, lines: types.Range | None = None) -> types.SemanticTokens:
    """Each five numbers: lines and columns since the last token, length, type, no modifiers."""
    count = len(document.text.lines)
    first, last = (lines.start.line, min(lines.end.line + 1, count)) if lines else (0, count)
    values = dict(document.map.header.values())
    units = document.text.units
    data: list[int] = []
    line = column = 0
    for number in range(first, last):
        text = document.text.lines[number]
        for start, end, kind in _of_line(document, number + 1, text, values.get(number + 1)):
            position = units(text[:start])
            data += (number - line, position if number > line else position - column, units(text[start:end]), kind, 0)
            line, column = number, position
    return types.SemanticTokens(data)


def _of_line(document: Document, number: int, text: str, value: Span | None) -> Iterator[Token]:
    place = document.map.lines.get(number)
    if place is not None:
        spans = document.map.spans[number]
        for field in sorted(spans, key=spans.__getitem__):
            yield from _of_field(field, spans[field], text, place.kind == "selection")
    elif value is not None and (header := _HEADER.match(text)):
        yield *header.span(1), COMMENT
        yield *header.span(2), KEYWORD
        yield value.start - 1, value.end - 1, STRING
    elif comment := document.map.comments.get(number):
        start = text.index("#")
        yield start, start + len(comment), COMMENT


def _of_field(field: str, span: Span, text: str, selection: bool) -> Iterator[Token]:
    start, end = span.start - 1, span.end - 1
    if field in _WHOLE:
        yield start, end, _WHOLE[field]
    elif selection:
        yield start, end, EVENT
    elif field == "path":
        for name in _NAME.finditer(text, start, end):
            yield *name.span(), NUMBER if name[0].isdigit() else NAMESPACE
    else:
        for word in _IN_SHAPE.finditer(text, start, end):
            yield *word.span(), NUMBER if word[0].isdigit() else TYPE_PARAMETER
