"""What edits did, how branches differ, and what a change would do everywhere."""

from __future__ import annotations

import re
import shlex

from dap_server.terminal import effects as pictures
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

SECONDS = 3600.0
"""Many forwards may take long; Ctrl+C ends the wait."""

_EFFECT = re.compile(r"(?P<ids>\d+(?:[\s,]+\d+)*)?\s*(?:step\s+(?P<step>\d+))?")
WHICH_SWEEP = (
    "sweep 'The capital of Japan is', sweep zero, sweep mean; with layers 0-3, positions 3,4, "
    "from 2,3 (positions of the other text), modules *.mlp, target ' Tokyo', foil ' Paris'"
)
_OPTIONS = ("layers", "positions", "from", "modules", "target", "foil")


@command("effect", usage="[ID …] [step N]", help="what edits did: to the next token, and layer by layer")
def effect(debugger: Debugger, argument: str) -> None:
    asked = _EFFECT.fullmatch(argument)
    if asked is None:
        raise CommandError(f"'{argument}' is not understood: effect, effect 2, effect 1 2, effect step 3")
    ids = [int(id) for id in re.findall(r"\d+", asked["ids"] or "")]
    body = debugger.client.edit_effect(ids or None, int(asked["step"]) if asked["step"] else None)
    debugger.screen.show(pictures.effect_view(body))


@command("compare", usage="A B", help="where two branches part, and how far their steps are apart: compare 1 2")
def compare(debugger: Debugger, argument: str) -> None:
    numbers = argument.split()
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise CommandError(f"'{argument}' names no two branches: compare 1 2")
    body = debugger.client.compare_branches(int(numbers[0]), int(numbers[1]), SECONDS)
    debugger.screen.show(pictures.comparison_view(body))


@command(
    "sweep",
    usage="'TEXT'|zero|mean [WITH …]",
    help="patch from another text, or ablate, every layer and position: sweep 'The capital of Japan is' layers 0-3",
)
def sweep(debugger: Debugger, argument: str) -> None:
    try:
        first, *rest = shlex.split(argument)
    except ValueError:
        what = f"'{argument}' is not understood" if argument else "a text is missing, or zero or mean"
        raise CommandError(f"{what}: {WHICH_SWEEP}") from None
    options: dict[str, object] = {"change": first} if first in ("zero", "mean") else {"source": first}
    while rest:
        if len(rest) < 2 or rest[0] not in _OPTIONS:
            raise CommandError(f"'{' '.join(rest)}' is not understood: {WHICH_SWEEP}")
        name, value, *rest = rest
        if name in ("modules", "target", "foil"):
            options[name] = value
        else:
            options["source_positions" if name == "from" else name] = _numbers(value)
    body = debugger.client.sweep(debugger.frame.id, SECONDS, **options)
    debugger.screen.show(pictures.sweep_view(body))


def _numbers(text: str) -> list[int]:
    """`3,4`, `0-3`, `-1`."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)-(\d+)|-?\d+", part.strip())
        if match is None:
            raise CommandError(f"'{text}' is no list of numbers: 3,4 or 0-3 or -1")
        found += range(int(match[1]), int(match[2]) + 1) if match[2] else [int(part)]
    return found
