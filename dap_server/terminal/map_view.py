"""A picture of some lines of a model map: where the frame stands, and which lines have breakpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from dap_server.terminal.render import CURRENT, HISTORY, NAME

BEFORE, AFTER = "▸", "◂"
SET, FAILED = "●", "○"


def view(lines: Sequence[str], shown: range, here: int, is_after: bool, breakpoints: Mapping[int, bool]) -> Table:
    """Lines `shown`, 1-based.

    Args:
        here: the line of the frame; the mark stands in front of it, or behind it with `is_after`.
        breakpoints: whether those on a line are verified.
    """
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=2)
    table.add_column(no_wrap=True, min_width=len(str(shown.stop)), justify="right", style=HISTORY)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    indent = min((len(text) - len(text.lstrip()) for n in shown if (text := lines[n - 1]).strip()), default=0)
    for number in shown:
        mark = Text(" ")
        if number in breakpoints:
            mark = Text(SET, "red") if breakpoints[number] else Text(FAILED, HISTORY)
        mark.append(" " if number != here else AFTER if is_after else BEFORE, CURRENT)
        table.add_row(mark, str(number), _line(lines[number - 1][indent:], number == here))
    return table


def _line(text: str, is_here: bool) -> Text:
    """The path stands out; what is beside it is there to be looked up."""
    if text.lstrip().startswith("#"):
        return Text(text, HISTORY)
    path, gap, rest = text.lstrip().partition("  ")
    shown = Text(" " * (len(text) - len(text.lstrip())))
    shown.append(path, f"{CURRENT} {NAME}" if is_here else NAME)
    return shown.append(gap + rest, "" if is_here else HISTORY)
