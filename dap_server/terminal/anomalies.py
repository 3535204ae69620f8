"""Pictures of anomalies: what has stopped a run, the way back to what made it, and which filters are on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.capabilities import ExceptionBreakpointsFilter
from dap_server.protocol.requests import ExceptionInfoResponseBody
from dap_server.protocol.types import Breakpoint, ExceptionDetails
from dap_server.terminal.filters import threshold
from dap_server.terminal.render import HISTORY, NAME

_PATH = re.compile(r"\b[A-Za-z_]\w*(?:\.\w+)+\b|\baten::\w+")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")
_TEXT = "green"


def anomaly(info: ExceptionInfoResponseBody) -> RenderableType:
    """One line, and below it where that came from, the nearest first."""
    origins = (info.details or ExceptionDetails()).inner_exception or []
    parts: list[RenderableType] = [line(info)]
    if origins:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, style=HISTORY)
        table.add_column()
        for origin in origins:
            table.add_row(f"  ← {origin.type_name or ''}", _coloured(origin.message or ""))
        parts.append(table)
    return Group(*parts)


def line(info: ExceptionInfoResponseBody) -> Text:
    """What it is, without what the way back says again."""
    text = info.description or info.exception_id
    if info.break_mode == "unhandled" and info.description:
        text = f"{info.exception_id}: {text}"
    origins = info.details.inner_exception if info.details is not None else None
    nearest = origins[0].message if origins else None
    if nearest and text.endswith(nearest):
        text = text.removesuffix(nearest).rstrip(" .:")
    return _coloured(text)


def filters(
    known: list[ExceptionBreakpointsFilter], on: Mapping[str, str | None], states: Mapping[str, Breakpoint]
) -> Table:
    """Two lines a filter: whether it is on and what it is; from where on it stops, and what became of it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for each in known:
        is_on, condition = each.filter in on, on.get(each.filter)
        name = Text(f"{'●' if is_on else '○'} ") + Text(each.filter, NAME if is_on else HISTORY)
        table.add_row(name, Text(each.description or each.label, "" if is_on else HISTORY))
        below = _threshold(each.filter, condition)
        if is_on and (state := states.get(each.filter)) is not None and state.message:
            is_wrong = not state.verified and state.reason != "pending"
            below.append("  " if below else "").append(state.message, "yellow" if is_wrong else HISTORY)
        if below:
            table.add_row("", below)
    return table


def _threshold(id: str, condition: str | None) -> Text:
    """As it is typed; dim where it is the filter's own."""
    if condition:
        return Text(f"if {condition}", NAME)
    own = threshold(id)
    return Text(f"if {own}" if own else "", HISTORY)


def _coloured(text: str) -> Text:
    """With modules, operations and tokens to be seen."""
    made = Text(text)
    made.highlight_regex(_PATH, NAME)
    made.highlight_regex(_QUOTED, _TEXT)
    return made
