"""The text as the model has it: tokens, where each came from, and the place that is being worked on."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.types import Variable

_ROW = re.compile(
    r"(?P<quoted>.*)  id (?P<id>\d+)(?:  step (?P<step>\d+)  (?P<probability>\S+))?(?P<padding>  padding)?", re.DOTALL
)
HERE = "▸"
BETWEEN = "│"


class Token(NamedTuple):
    """A row of the scope Tokens.

    Attributes:
        step: that made it; None for the prompt.
    """

    position: str
    text: str
    id: str
    step: int | None
    probability: str
    is_padding: bool


def parse(row: Variable) -> Token:
    """A row that is written otherwise than expected is a token with that text."""
    position = row.name.strip("[]")
    match = _ROW.fullmatch(row.value)
    if match is None:
        return Token(position, row.value, "", None, "", False)
    step = int(match["step"]) if match["step"] else None
    return Token(
        position, unquoted(match["quoted"]), match["id"], step, match["probability"] or "", bool(match["padding"])
    )


def text_view(tokens: Sequence[Token], here: str, hidden: int = 0) -> RenderableType:
    """The text, cut where tokens meet, and a mark where the next one will be.

    Args:
        here: what happens at the mark.
        hidden: how many tokens before these are left out.
    """
    prompt = [token for token in tokens if token.step is None and not token.is_padding]
    made = [token for token in tokens if token.step is not None]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    before = Text(f"… {hidden:,} tokens … ", "dim") if hidden else Text()
    padding = len(tokens) - len(prompt) - len(made)
    note = Text(f"  (after {padding} of padding)", "dim") if padding else Text()
    mark = Text(f"{HERE} {here}", "bold yellow")
    if not made:
        table.add_row("text", before + _cut(prompt) + mark + note)
        return table
    if prompt:
        table.add_row("prompt", before + _cut(prompt) + note)
        before = Text()
    table.add_row("made", before + _cut(made, "bold green") + mark)
    return table


def table_view(tokens: Sequence[Token], hidden: int = 0) -> RenderableType:
    """One line per token: position, text, id, and the step and probability of those that the model made."""
    table = Table.grid(padding=(0, 2))
    table.add_column("", justify="right", style="dim")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("", style="dim")
    for token in tokens:
        origin = "padding" if token.is_padding else "prompt" if token.step is None else f"step {token.step}"
        table.add_row(
            token.position, Text(repr(token.text)), Text(token.id), Text(f"{origin}  {token.probability}".rstrip())
        )
    first = [Text(f"… {hidden:,} tokens before these", "dim")] if hidden else []
    return Group(*first, table)


def _cut(tokens: Sequence[Token], style: str = "") -> Text:
    line = Text()
    for token in tokens:
        line.append(visible(token.text), style).append(BETWEEN, "dim")
    return line


def visible(text: str) -> str:
    """Line ends and tabs as signs, so that a token stays on its line."""
    return text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")


def unquoted(quoted: str) -> str:
    try:
        value = ast.literal_eval(quoted)
    except (ValueError, SyntaxError):
        return quoted
    return value if isinstance(value, str) else quoted
