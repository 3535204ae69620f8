"""What edits did as lines and bars; branches beside each other; sweeps as heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.effects import (
    CompareBranchesResponseBody,
    ComparedStep,
    EffectLayer,
    EffectResponseBody,
    LikelyToken,
    SweepResponseBody,
)
from dap_server.terminal.attention import values
from dap_server.terminal.render import CURRENT, HISTORY, NAME
from dap_server.terminal.tokens import visible

EMBEDDING = "embedding"
BAR_WIDTH = 20
NUMBERED_COLUMNS = 10
"""A map with more has shades instead of numbers."""
STEPS_SHOWN = 20
LABEL_WIDTH = 10
HIGHEST = 3

_SHADES = " ·░▒▓█"
_HEAT = ("", "on grey15", "on dark_blue", "on blue3", "bold on dodger_blue1")


def effect_view(body: EffectResponseBody) -> RenderableType:
    """What edits did, and how far the residual stream moved behind every layer."""
    first, *warnings = body.text
    lines = [Text(first, CURRENT), *(Text(warning, "yellow") for warning in warnings)]
    if not any(layer.largest is None or layer.largest > 0 for layer in body.layers):
        return Group(*lines)
    table = _table("moved, of its length", "last position", "", "largest")
    top = max((layer.last or 0.0 for layer in body.layers), default=0.0)
    for layer in body.layers:
        table.add_row(layer.path or EMBEDDING, _percent(layer.last), _bar(layer, top), _percent(layer.largest))
    return Group(*lines, Text(), table)


def _bar(layer: EffectLayer, top: float) -> Text:
    share = (layer.last or 0.0) / top if top else 0.0
    return Text("█" * round(BAR_WIDTH * share) or ("▏" if share else ""), "blue")


def comparison_view(body: CompareBranchesResponseBody) -> RenderableType:
    """Where two branches part, their steps, and layers × positions."""
    title = Text(f"branch {body.a} beside branch {body.b}", CURRENT)
    if body.fork is None:
        return title + Text(": no step differs")
    if not body.steps:
        return title + Text(f": they differ from step {body.fork} on, which has not run in both")
    title.append(f": the first step that differs is {body.fork}")
    parts: list[RenderableType] = [title, _parting(body), Text(), _steps(body)]
    if body.movement is not None:
        rows = [path or EMBEDDING for path in body.layers]
        columns = [f"{one.position}{'*' if one.differs else ''}" for one in body.positions]
        parts += [Text(), Text("residual stream, |b - a| / |a|, by position", HISTORY)]
        parts.append(heat_map(rows, columns, values(body.movement), 1.0))
        if any(one.differs for one in body.positions):
            parts.append(Text("* another token stands there", HISTORY))
    if body.problem:
        parts.append(Text(body.problem, HISTORY))
    return Group(*parts)


def _parting(body: CompareBranchesResponseBody) -> Text:
    step = next((one for one in body.steps if one.step == body.divergence), None)
    if step is None or step.a is None or step.b is None:
        return Text("so far both have chosen the same tokens")
    return Text(f"first other token in step {step.step}: ") + _token(step.a) + Text(" | ") + _token(step.b)


def _steps(body: CompareBranchesResponseBody) -> RenderableType:
    table = _table("step", "KL, nats", "moved", f"branch {body.a}", f"branch {body.b}")
    for step in body.steps[:STEPS_SHOWN]:
        table.add_row(str(step.step), *_distance(step), _token(step.a), _token(step.b))
    hidden = len(body.steps) - STEPS_SHOWN
    return Group(table, Text(f"… {hidden} more steps", HISTORY)) if hidden > 0 else table


def _distance(step: ComparedStep) -> tuple[str, str]:
    found = step.logits
    if found.same:
        return "same", ""
    return "infinite" if found.kl is None else f"{found.kl:.3g}", _percent(found.total_variation)


def _token(token: LikelyToken | None) -> Text:
    return (
        Text("not yet", HISTORY)
        if token is None
        else Text(repr(token.text)) + Text(f" {_percent(token.probability)}", HISTORY)
    )


def sweep_view(body: SweepResponseBody) -> RenderableType:
    """What a change at every layer and position came to."""
    target, foil = repr(body.target.text), repr(body.foil.text)
    title = Text(f"{target} rather than {foil}", CURRENT) + Text(f" in step {body.step}")
    now = f"{target} has {_percent(body.base.probability)} now"
    if body.source is not None:
        now += f" and {_percent(body.source.probability)} in the other text"
    rows = [row.path or EMBEDDING for row in body.rows]
    columns = [f"{column.position} {visible(column.token.text)}" for column in body.columns]
    if body.recovered is not None:
        what, cells, top = "share of the way from this difference of logits to the other text's", body.recovered, 1.0
    else:
        what, cells = "divergence of the next token's distribution from what it is now, KL in nats", body.kl
        top = max((cell for row in values(cells) for cell in row if not math.isnan(cell)), default=0.0)
    numbers = values(cells)
    parts = [title, Text(now, HISTORY), Text(), Text(what, HISTORY), heat_map(rows, columns, numbers, top)]
    return Group(*parts, *([_highest(rows, columns, numbers)] if len(columns) > NUMBERED_COLUMNS else []))


def _highest(rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[float]]) -> Text:
    """Where a map without numbers is highest, a cell of each of a few columns."""
    best = {j: max(range(len(rows)), key=lambda i: _rank(cells[i][j])) for j in range(len(columns))}
    shown = [j for j in sorted(best, key=lambda j: -_rank(cells[best[j]][j])) if cells[best[j]][j] >= 0.005][:HIGHEST]
    return Text("highest: ", HISTORY) + Text(" · ").join(
        Text(f"{_cell(cells[best[j]][j])} at {columns[j]}, {rows[best[j]]}") for j in shown
    )


def _rank(cell: float) -> float:
    return -math.inf if math.isnan(cell) else cell


def heat_map(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[float]], top: float
) -> RenderableType:
    """Numbers on a background by their share of `top`; where there are many columns, shades alone."""
    if len(columns) > NUMBERED_COLUMNS:
        return _shaded(rows, columns, cells, top)
    table = _table("", *([""] * len(columns)))
    for column, title in zip(table.columns[1:], columns, strict=True):
        column.header = Text(title if len(title) <= LABEL_WIDTH else f"{title[: LABEL_WIDTH - 1]}…", HISTORY)
        column.justify = "right"
    for row, line in zip(rows, cells, strict=True):
        table.add_row(row, *(Text(_cell(cell), _HEAT[_level(cell, top)]) for cell in line))
    return table


def _shaded(rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[float]], top: float) -> Table:
    """Two characters for each cell; every fifth column is named by its position."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style=NAME, no_wrap=True)
    table.add_column(no_wrap=True)
    ruler = "".join(f"{columns[i].split()[0].strip('*'):<10}" for i in range(0, len(columns), 5))
    table.add_row("", Text(ruler.rstrip(), HISTORY))
    for row, line in zip(rows, cells, strict=True):
        table.add_row(row, Text("".join(_shade(cell, top) * 2 for cell in line), "blue"))
    return table


def _shade(cell: float, top: float) -> str:
    return "?" if math.isnan(cell) else _SHADES[_level(cell, top) + (abs(cell) >= 0.005 * top and top > 0)]


def _level(cell: float, top: float) -> int:
    """0 … 4."""
    share = 0.0 if math.isnan(cell) or not top else abs(cell) / top
    return sum(share >= least for least in (0.05, 0.2, 0.5, 0.8))


def _cell(cell: float) -> str:
    return "-" if math.isnan(cell) else f"{cell:.2f}"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HISTORY)
    table.add_column(titles[0], style=NAME, no_wrap=True)
    for title in titles[1:]:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    return table


def _percent(share: float | None) -> str:
    return "not finite" if share is None else f"{share:.1%}"
