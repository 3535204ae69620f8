"""A picture of the lines around which a Python frame stands."""

from __future__ import annotations

import linecache

from rich.table import Table
from rich.text import Text

from dap_server.protocol.types import StackFrame
from dap_server.terminal.render import CURRENT, HISTORY, NAME

AROUND = 3
"""Lines before and behind it."""


def is_python(frame: StackFrame) -> bool:
    """Whether a frame stands at a line of Python; those of a model stand in its map."""
    return bool(frame.source and frame.source.path and frame.source.path.endswith((".py", ".pyw", ".ipynb")))


def excerpt(frame: StackFrame) -> Table | None:
    """The lines, numbered, with an arrow at the frame's own; None where the file cannot be read here."""
    path = frame.source.path if frame.source else None
    if path is None:
        return None
    linecache.checkcache(path)
    lines = linecache.getlines(path)
    if not 1 <= frame.line <= len(lines):
        return None
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", style=HISTORY)
    table.add_column(no_wrap=True, overflow="ellipsis")
    first = max(frame.line - AROUND, 1)
    for number, line in enumerate(lines[first - 1 : frame.line + AROUND], start=first):
        is_here = number == frame.line
        text = Text(line.rstrip().expandtabs(4), CURRENT if is_here else HISTORY)
        table.add_row(Text("▸" if is_here else " ", NAME), str(number), text)
    return table
