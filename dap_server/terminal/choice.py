"""The choice of a token as a picture: a line for every stage, then what could be chosen in the end."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.sampling import SamplingResponseBody, SamplingStage, SamplingToken
from dap_server.terminal.render import CURRENT, HISTORY, NAME

CANDIDATES = 8
OPTION_LENGTH = 40


def view(body: SamplingResponseBody) -> RenderableType:
    state = "chosen" if body.is_chosen else "will be chosen"
    draw = {"greedy": "greedy: the highest score", "sampled": "sampled", "padding": "padding, the sequence has ended"}
    heading = Text(f"step {body.step}  ", HISTORY) + Text(repr(body.token.text), f"{CURRENT} {NAME}")
    heading.append(f" {state} · {draw[body.draw]} · probability {_percent(body.token.probability)}")
    parts: list[RenderableType] = [heading, _stages(body.stages)]
    if body.pruned:
        mass = _percent(body.pruned_mass)
        parts.append(Text(f"{body.pruned:,} tokens with {mass} of the probability were pruned in all", HISTORY))
    parts.append(_candidates(body.stages[-1].top, body.token.id))
    return Group(*parts)


def _stages(stages: list[SamplingStage]) -> Table:
    """Numbers keep their width on a narrow screen; names and options give way."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HISTORY)
    table.add_column("stage", style=NAME, no_wrap=True, overflow="ellipsis", min_width=12)
    lines = [_line(stage) for stage in stages]
    for title, *cells in zip(_NUMBERS, *lines, strict=True):
        table.add_column(title, justify="right", no_wrap=True, min_width=max(map(len, (title, *cells))))
    table.add_column("options", style=HISTORY, no_wrap=True, overflow="ellipsis")
    for stage, cells in zip(stages, lines, strict=True):
        again = f" ({stage.occurrence + 1})" if stage.occurrence else ""
        table.add_row(f"{stage.name}{again}", *cells, _options(stage))
    return table


_NUMBERS = ("entropy", "left", "pruned", "rank", "probability")


def _line(stage: SamplingStage) -> list[str]:
    return [
        "-" if stage.entropy is None else f"{stage.entropy:.4f}",
        f"{stage.tokens:,}" + (f", {stage.nan:,} NaN" if stage.nan else ""),
        f"{stage.pruned:,} ({_percent(stage.pruned_mass)})" if stage.pruned else "",
        "-" if stage.rank is None else str(stage.rank),
        _percent(stage.chosen.probability),
    ]


def _options(stage: SamplingStage) -> str:
    given = [option for option in stage.options or () if option.value != "None" and len(option.value) <= OPTION_LENGTH]
    return ", ".join(f"{option.name}={option.value}" for option in given)


def _candidates(tokens: list[SamplingToken], chosen: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(style=NAME)
    table.add_column(style=HISTORY, justify="right")
    for token in tokens:
        mark = "▸ " if token.id == chosen else "  "
        table.add_row(f"{mark}{_percent(token.probability)}", repr(token.text), f"id {token.id}")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
