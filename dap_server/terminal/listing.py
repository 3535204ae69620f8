"""A picture of a listing of operations: grouped by module, an arrow where the frame stands."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from dap_server.protocol.types import DisassembledInstruction
from dap_server.terminal.render import CURRENT, HISTORY, NAME


def listing(rows: Sequence[DisassembledInstruction], here: str) -> Table | Text:
    """`here` is the address of the arrow. Rows beyond the ends of the listing are left out."""
    known = [row for row in rows if row.presentation_hint != "invalid"]
    if not known:
        return Text("no operations are known here", HISTORY)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style=HISTORY)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, style=HISTORY)
    symbol, file, line = None, "", None
    for row in known:
        if row.symbol != symbol:
            symbol = row.symbol
            table.add_row("", "", Text(symbol or "", NAME), "")
        file = (row.location.name or "") if row.location else file
        line = row.line if row.line is not None else line
        is_here = row.address == here
        text = Text(f"  {row.instruction}", CURRENT if is_here else "" if "::" in row.instruction else HISTORY)
        table.add_row(Text("▸" if is_here else " ", CURRENT), row.address, text, f"{file}:{line}" if file else "")
    return table
