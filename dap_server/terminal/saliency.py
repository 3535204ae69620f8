"""The text with a shade for every token, by how much it bears on what the model says next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.gradients import SaliencyResponseBody, SaliencyToken
from dap_server.terminal.tokens import visible

TEXT_TOKENS = 200
BARS = 16
"""So many tokens at most have a bar: those that bear most."""
BAR_WIDTH = 24

_UP = ("", "on grey15", "on dark_green", "bold on green4")
_DOWN = ("", "on grey15", "on dark_red", "bold on red3")


def view(body: SaliencyResponseBody, kind: str) -> RenderableType:
    """What it is of, the text with its shades, and bars for the tokens that bear most."""
    shown = body.tokens[-TEXT_TOKENS:]
    top = max((abs(token.score or 0.0) for token in body.tokens), default=0.0)
    text = Text(f"… {len(body.tokens) - len(shown)} tokens … " if len(shown) < len(body.tokens) else "", "dim")
    for before, token in zip([None, *shown], shown, strict=False):
        if before is not None and before.encoded and not token.encoded:
            text.append("  →  ", "dim")
        text.append(_text(token), _shade(token.score or 0.0, top))
    return Group(*_title(body, kind), Text(), text, Text(), _bars(body.tokens, top))


def _title(body: SaliencyResponseBody, kind: str) -> list[Text]:
    what = "the loss of the text" if body.token is None else f"the {kind} of {body.token.text!r}"
    how = "recomputed by one forward over the text" if body.recomputed else "the step, run again"
    first = Text("gradient × input", "bold") + Text(f" for {what} = {_number(body.value, '.4g')}")
    return [first, Text(f"{how}; + raises it, - lowers it", "dim")]


def _bars(tokens: Sequence[SaliencyToken], top: float) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    most = sorted(tokens, key=lambda token: -abs(token.score or 0.0))[:BARS]
    for token in (token for token in tokens if token in most):
        score = token.score or 0.0
        style = "green" if score >= 0 else "red"
        bar = "█" * round(BAR_WIDTH * abs(score) / top) if top else ""
        position = f"encoder {token.position}" if token.encoded else str(token.position)
        number = _number(token.score, "+.3f" if top >= 0.1 else "+.1e")
        table.add_row(Text(position, "dim"), repr(_text(token)), number, Text(bar or "·", style))
    if len(most) < len(tokens):
        table.add_row("", Text(f"… {len(tokens) - len(most)} that bear less", "dim"))
    return table


def _number(value: float | None, form: str) -> str:
    return "not finite" if value is None else format(value, form)


def _text(token: SaliencyToken) -> str:
    return "▢" if token.text is None else visible(token.text)


def _shade(score: float, top: float) -> str:
    share = abs(score) / top if top else 0.0
    level = (share > 0.1) + (share > 0.3) + (share > 0.6)
    return (_UP if score >= 0 else _DOWN)[level]
