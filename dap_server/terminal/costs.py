"""A table of what breakpoints cost the run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.costs import BreakpointCost, BreakpointCostsResponseBody
from dap_server.terminal.render import HISTORY, NAME

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def costs(body: BreakpointCostsResponseBody, names: Mapping[int, str]) -> RenderableType:
    """One row a breakpoint, the most expensive first.

    Args:
        names: of breakpoints, as they were typed, by id.
    """
    if not body.breakpoints:
        return Text("no breakpoints", HISTORY)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style=HISTORY)
    table.add_column("breakpoint", style=NAME, no_wrap=True, overflow="ellipsis", max_width=44)
    for header in ("places", "evaluated", "a token", "share"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("judged")
    for cost in sorted(body.breakpoints, key=lambda cost: -cost.seconds):
        table.add_row(
            names.get(cost.id, cost.name),
            f"{cost.places:,}" if cost.places else "",
            f"{cost.evaluations:,}",
            time(cost.per_token) if cost.evaluations else "",
            "" if cost.share is None or not cost.evaluations else f"{cost.share:.1%}",
            _judged(cost),
        )
    whole = body.seconds_per_token
    if whole is None:
        return table
    return Group(table, Text(f"a token takes {time(whole)}, breakpoints and all", HISTORY))


def time(seconds: float) -> str:
    """`12 µs`, `3.4 ms`, `1.2 s`."""
    if seconds <= 0:
        return "0"
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    number = seconds / size
    return f"{number:.3g} {unit}" if number < 100 else f"{number:.0f} {unit}"


def _judged(cost: BreakpointCost) -> Text:
    return Text(cost.judged) + Text(f": {cost.why}" if cost.why else "", HISTORY)
