"""Attention as pictures: what the heads of a layer do; for one head where a token looks, and a map of all tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.attention import AttentionAxis, AttentionHead, AttentionOfModule
from dap_server.protocol.llm.tiles import Tile
from dap_server.terminal.render import CURRENT, HISTORY, NAME
from dap_server.terminal.tiles import numbers
from dap_server.terminal.tokens import unquoted, visible

MAP_SIDE = 40
"""Rows and columns of a map; more are taken together."""
LOOKS = 3
BARS = 8
BAR_WIDTH = 24
STRIP_TOKENS = 200
LABEL_WIDTH = 14

_SHADES = "·░▒▓█"
_STRIP = ("", "on grey15", "on dark_blue", "on blue3", "bold on dodger_blue1")
_KINDS = {"induction": "green", "previous token": "cyan", "duplicate": "magenta", "sink": "yellow"}


def values(tile: Tile) -> list[list[float]]:
    """Row by row; a tile of one axis is one row. NaN for what is masked."""
    found, width = numbers(tile), max(tile.shape[-1], 1)
    return [found[i : i + width] for i in range(0, len(found), width)]


def heads_view(call: AttentionOfModule, last: AttentionOfModule) -> RenderableType:
    """One line per head.

    Args:
        last: the same call, with the last query alone.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HISTORY)
    table.add_column("head", justify="right", style=NAME)
    if any(head.kind for head in call.heads):
        table.add_column("kind", no_wrap=True)
    for title in ("entropy", "first"):
        table.add_column(title, justify="right")
    far = any(head.distance is not None for head in call.heads)
    sink = any(head.learnt_sink is not None for head in call.heads)
    for title in ["back"] * far + ["learnt sink"] * sink:
        table.add_column(title, justify="right")
    own = last.queries.labels[-1] if last.queries.labels else ""
    table.add_column(Text(f"{visible(own)} looks at"), overflow="ellipsis", no_wrap=True)
    for head, row in zip(call.heads, last.heads, strict=True):
        kind = [_kind(head)] if head.kind else []
        cells: list[str | Text] = [str(head.head), *kind, f"{head.entropy:.2f}", f"{head.first:.0%}"]
        cells += [] if head.distance is None else [f"{head.distance:.1f}"]
        cells += [] if head.learnt_sink is None else [f"{head.learnt_sink:.0%}"]
        table.add_row(*cells, _looks(values(row.tile)[-1], last.keys))
    return Group(_title(call), table)


def all_view(calls: Sequence[AttentionOfModule]) -> RenderableType:
    """The kinds of all heads, a line per layer."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style=NAME, no_wrap=True)
    table.add_column(overflow="fold")
    for call in calls:
        named = [head for head in call.heads if head.kind not in (None, "mixed")]
        line = Text(" · ", HISTORY).join([Text(f"{head.head} ") + _kind(head) for head in named])
        kind = "" if call.kind == "self" else f" ({call.kind})"
        table.add_row(
            f"{call.path}{kind}", line if named else Text(f"{call.head_count} heads, none of a kind", HISTORY)
        )
    return table


def head_view(call: AttentionOfModule, row: AttentionOfModule) -> RenderableType:
    """One head: numbers, the text with a shade by weight, the keys it looks at most, and a map.

    Args:
        call: one head, down-sampled to the map.
        row: the query that is looked at, every key.
    """
    head, looks = call.heads[0], values(row.heads[0].tile)[-1]
    query = f"{visible(row.queries.labels[-1])} at {row.queries.end - 1}"
    parts: list[RenderableType] = [_title(call, head.head), _numbers(head), Text()]
    if all(map(math.isnan, looks)):
        return Group(*parts, Text(f"{query} is masked: it looks nowhere", HISTORY))
    parts += [Text("where ") + Text(query, CURRENT) + Text(" looks"), _strip(looks, row.keys), Text()]
    parts.append(_bars(looks, row))
    if len(call.queries.labels) > 1:
        parts += [Text(), _map(values(head.tile), call)]
    return Group(*parts)


def _title(call: AttentionOfModule, head: int | None = None) -> Text:
    title = Text(call.path if head is None else f"{call.path}, head {head}", CURRENT)
    parts = [f"{call.kind} attention", call.kernel, f"{call.queries.size} × {call.keys.size}"]
    parts += [] if call.window is None else [f"window {call.window}"]
    parts += [f"from {call.source}"] * (call.source != "AttentionInterface")
    return title + Text("".join(f" · {part}" for part in parts), HISTORY)


def _kind(head: AttentionHead) -> Text:
    kind = head.kind or ""
    if kind not in (head.scores or {}):
        return Text(kind, HISTORY)
    return Text(f"{kind} {(head.scores or {})[kind]:.0%}", _KINDS.get(kind, ""))


def _numbers(head: AttentionHead) -> Text:
    line = Text(" · ", HISTORY).join(
        Text(f"{kind} {score:.0%}", _KINDS.get(kind, "") if kind == head.kind else HISTORY)
        for kind, score in sorted((head.scores or {}).items(), key=lambda item: -item[1])
    )
    rest = [f"entropy {head.entropy:.3f}", f"first token {head.first:.1%}"]
    rest += [] if head.distance is None else [f"{head.distance:.1f} back"]
    rest += [] if head.learnt_sink is None else [f"learnt sink {head.learnt_sink:.1%}"]
    return line + Text((" · " if line else "") + " · ".join(rest), HISTORY)


def _looks(weights: Sequence[float], keys: AttentionAxis) -> Text:
    if all(map(math.isnan, weights)):
        return Text("masked", HISTORY)
    best = sorted(range(len(weights)), key=lambda i: -weights[i])[:LOOKS]
    return Text(", ").join(
        Text(visible(keys.labels[i])) + Text(f" {weights[i]:.0%}", HISTORY) for i in best if weights[i] >= 0.005
    )


def _strip(weights: Sequence[float], keys: AttentionAxis) -> Text:
    """The text, each token on a shade by its weight. Of a long one the end."""
    first = max(len(weights) - STRIP_TOKENS, 0)
    hidden = sum(weights[:first])
    text = Text(f"… {first} tokens, {hidden:.0%} … " if first else "", HISTORY)
    for label, weight in zip(keys.labels[first:], weights[first:], strict=True):
        text.append(visible(_unquoted(label)), _STRIP[_level(weight)])
    return text


def _bars(weights: Sequence[float], row: AttentionOfModule) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    best = sorted(range(len(weights)), key=lambda i: -weights[i])[:BARS]
    shown = [i for i in sorted(best) if weights[i] >= 0.005]
    for i in shown:
        bar = "█" * round(BAR_WIDTH * weights[i])
        place = str(row.keys.start + i * row.keys.block)
        table.add_row(Text(place, HISTORY), visible(row.keys.labels[i]), f"{weights[i]:.1%}", Text(bar or "·", "blue"))
    sinks = row.heads[0].sinks
    if sinks is not None:
        share = values(sinks)[-1][-1]
        table.add_row("", Text("learnt sink", HISTORY), f"{share:.1%}", Text("█" * round(BAR_WIDTH * share), "yellow"))
    return table


def _map(cells: Sequence[Sequence[float]], call: AttentionOfModule) -> RenderableType:
    """Queries down, keys across, two characters wide; every fifth column is named by its position."""
    queries, keys = call.queries, call.keys
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(justify="right", style=HISTORY, no_wrap=True)
    table.add_column(justify="right", no_wrap=True, max_width=LABEL_WIDTH, overflow="ellipsis")
    table.add_column(no_wrap=True)
    ruler = "".join(f"{keys.start + i * keys.block:<10}" for i in range(0, len(keys.labels), 5))
    table.add_row("", "", Text(ruler[: 2 * len(keys.labels)].rstrip(), HISTORY))
    for i, weights in enumerate(cells):
        line = "".join("  " if math.isnan(w) or w < 0.005 else _SHADES[_level(w)] * 2 for w in weights)
        table.add_row(str(queries.start + i * queries.block), visible(queries.labels[i]), Text(line, "blue"))
    if queries.block == keys.block == 1:
        return table
    note = f"one cell is the largest of {queries.block} × {keys.block}"
    return Group(table, Text(note, HISTORY))


def _level(weight: float) -> int:
    """0 … 4."""
    return 0 if math.isnan(weight) else sum(weight >= least for least in (0.02, 0.1, 0.3, 0.6))


def _unquoted(label: str) -> str:
    text = unquoted(label)
    return f" {label}" if text == label else text  # `position 3` is no text
