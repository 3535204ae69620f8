"""A cache as a picture: what it is in all, then a line for every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.types import Variable
from dap_server.terminal.render import CURRENT, HISTORY, NAME


def view(summary: Sequence[Variable], layers: Mapping[str, Sequence[Variable]]) -> RenderableType:
    """`summary`: the rows about the whole; `layers`: by kind of attention, a row for every layer."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=NAME, no_wrap=True)
    table.add_column(overflow="fold")
    for row in summary:
        table.add_row(row.name, Text(row.value, CURRENT if row.name == "kind" else ""))
    parts: list[RenderableType] = [table]
    for name, rows in layers.items():
        if name != "layers":
            parts.append(Text(name, CURRENT))
        parts.append(_layers(rows))
    return Group(*parts)


def _layers(rows: Sequence[Variable]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    width = max((row.value.count(" · ") for row in rows), default=0) + 1
    table.add_column(style=HISTORY, justify="right")
    for _ in range(width):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(row.name.strip("[]"), *row.value.split(" · "))
    return table
