"""The outline of a map and what of it folds."""

from __future__ import annotations

from collections.abc import Iterator

from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.language.quantities import short
from dap_server.language.tree import Node
from dap_server.modelmap.text import MapText


def symbols(document: Document) -> list[types.DocumentSymbol]:
    return [_symbol(document, node) for node in document.tree]


def folding_ranges(document: Document) -> list[types.FoldingRange]:
    inside = [types.FoldingRange(node.number - 1, node.last - 1) for node in _nodes(document.tree) if node.children]
    comment = types.FoldingRangeKind.Comment
    return inside + [types.FoldingRange(first - 1, last - 1, kind=comment) for first, last in _blocks(document.map)]


def _symbol(document: Document, node: Node) -> types.DocumentSymbol:
    last = document.line(node.last)
    parameters = f"{short(node.line.parameters)} parameters" if node.line.parameters else ""
    return types.DocumentSymbol(
        name=node.name,
        kind=_kind(node),
        range=types.Range(document.line(node.number).start, last.end),
        selection_range=document.range(node.number, document.map.spans[node.number]["path"]),
        detail="  ".join(filter(None, (node.line.class_name, parameters or node.line.note))),
        children=[_symbol(document, child) for child in node.children],
    )


def _kind(node: Node) -> types.SymbolKind:
    match node.line.kind:
        case "selection":
            return types.SymbolKind.Event
        case "list":
            return types.SymbolKind.Array
        case "unused":
            return types.SymbolKind.Constant
        case "module":
            return types.SymbolKind.Class if node.children else types.SymbolKind.Function


def _nodes(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _nodes(node.children)


def _blocks(text: MapText) -> Iterator[tuple[int, int]]:
    """Lines of comment that follow each other, two or more: the first and the last."""
    alone = [number for number in text.comments if number not in text.lines]
    start = 0
    for i, number in enumerate(alone):
        if i + 1 == len(alone) or alone[i + 1] != number + 1:
            if i > start:
                yield alone[start], number
            start = i + 1
