"""What each layer would say, and what each part adds to a logit, as tables and bars."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.lens import (
    AttributionPart,
    AttributionResponseBody,
    LensCandidate,
    LensCell,
    LensColumn,
    LensLayer,
    LensResponseBody,
)
from dap_server.terminal.render import CURRENT, HISTORY, NAME

EMBEDDING = "embedding"
BAR_WIDTH = 20
SHADES = ((0.9, "bold green"), (0.5, "green"), (0.1, "default"), (0.0, "dim"))
"""By probability: how a token looks."""
HEADS_SHOWN = 3
"""Of an attention, the heads with the largest effect."""


def view(body: LensResponseBody) -> RenderableType:
    """One position: a line for every layer. Several: a column for each."""
    if len(body.columns) > 1:
        return _positions(body)
    (column,) = body.columns
    if not column.cells:
        return Text(f"position {column.position} is padding", HISTORY)
    return Group(_heading(column), _layers(body.layers, column.cells))


def _heading(column: LensColumn) -> Text:
    line = Text("lens", CURRENT)
    if column.position is not None:
        line.append(f" behind {_token(column)} at position {column.position}")
    return line.append("  recomputed" if column.recomputed else "  exact", HISTORY)


def _layers(layers: list[LensLayer], cells: list[LensCell]) -> Table:
    watched = [repr(one.text) for one in cells[0].watched]
    table = _table("layer", "says", "", *(name for text in watched for name in (text, "")), "norm", "update", "cosine")
    for layer, cell in zip(layers, cells, strict=True):
        best = cell.top[0]
        table.add_row(
            layer.path or EMBEDDING,
            Text(repr(best.text), _shade(best)),
            _percent(best.probability),
            *(text for one in cell.watched for text in (f"rank {one.rank}", _percent(one.probability))),
            _number(cell.norm),
            _number(cell.update) if layer.path else "",
            _number(cell.cosine, 3),
        )
    return table


def _positions(body: LensResponseBody) -> RenderableType:
    columns = [column for column in body.columns if column.cells]
    marks = ["*" if column.recomputed else "" for column in columns]
    table = _table("layer", *(f"{_token(c)} {c.position}{mark}" for c, mark in zip(columns, marks, strict=True)))
    for i, layer in enumerate(body.layers):
        cells = (column.cells[i].top[0] for column in columns)
        table.add_row(str(layer.index) if layer.path else EMBEDDING, *(_said(best) for best in cells))
    for i, one in enumerate(columns[0].cells[0].watched if columns else []):
        ranks = (str(column.cells[-1].watched[i].rank) for column in columns)
        table.add_row(Text(f"rank of {one.text!r}", HISTORY), *ranks)
    notes = []
    if any(marks):
        notes.append(Text("* recomputed by one forward over the text; 'exact' runs every step again", HISTORY))
    if padding := len(body.columns) - len(columns):
        notes.append(Text(f"{padding} position{'s are' if padding > 1 else ' is'} padding", HISTORY))
    return Group(Text("what each layer would say behind each token", CURRENT), table, *notes)


def _token(column: LensColumn) -> str:
    return "" if column.token is None else repr(column.token.text)


def _said(best: LensCandidate) -> Text:
    return Text(repr(best.text), _shade(best)) + Text(f" {_percent(best.probability, 0)}", HISTORY)


def attribution_view(body: AttributionResponseBody) -> RenderableType:
    """A bar for every part of a logit, layers opened."""
    line = Text("logit of ") + Text(repr(body.token.text), CURRENT) + Text(f" = {_number(body.logit, 4)}")
    if body.given is not None and body.logit is not None and abs(body.given - body.logit) > 1e-6 * abs(body.logit):
        line.append(f" before capping, {_number(body.given, 4)} behind it")
    line.append(f"  at position {body.position}", HISTORY)
    rows = [row for part in body.parts for row in _part_rows(part, 0)]
    largest = max((abs(part.value or 0.0) for _, part in rows), default=0.0)
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for depth, part in rows:
        style = HISTORY if depth else NAME
        table.add_row(Text("  " * depth + _name(part), style), _signed(part.value), _bar(part.value, largest))
    table.add_row(Text("remainder", HISTORY), Text(f"{body.remainder or 0.0:+.1e}", HISTORY), "")
    notes = [Text(f"{part.name}: {part.note}", HISTORY) for part in _noted(body.parts)]
    return Group(line, table, *notes[:1])


def _part_rows(part: AttributionPart, depth: int) -> Iterator[tuple[int, AttributionPart]]:
    yield depth, part
    parts = part.parts
    if part.kind == "attention":
        parts = sorted(parts, key=lambda p: -abs(p.value or 0.0))[:HEADS_SHOWN]
    for inner in parts:
        yield from _part_rows(inner, depth + 1)


def _noted(parts: list[AttributionPart]) -> Iterator[AttributionPart]:
    for part in parts:
        if part.note:
            yield part
        yield from _noted(part.parts)


def _name(part: AttributionPart) -> str:
    return part.name.rpartition(".")[2] if part.kind in ("attention", "module") else part.name


def _bar(value: float | None, largest: float) -> Text:
    if not value or not largest:
        return Text("")
    length = round(BAR_WIDTH * abs(value) / largest)
    return Text("█" * length or "▏", "green" if value > 0 else "red")


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HISTORY)
    table.add_column(titles[0], style=NAME, no_wrap=True)
    for title in titles[1:]:
        is_number = title in ("", "norm", "update", "cosine")
        table.add_column(title, justify="right" if is_number else "left", no_wrap=True, overflow="ellipsis")
    return table


def _shade(candidate: LensCandidate) -> str:
    return next(style for least, style in SHADES if (candidate.probability or 0.0) >= least)


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "not finite" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None) -> str:
    return "not finite" if value is None else f"{value:+.3f}"
