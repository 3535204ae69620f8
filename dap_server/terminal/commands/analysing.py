"""What is worked out about a run."""

from __future__ import annotations

import re
from typing import Any

from dap_server.protocol.llm.attention import AttentionOfModule, Positions
from dap_server.protocol.llm.gradients import GradientObjective
from dap_server.terminal import attention as maps
from dap_server.terminal import lens as lens_pictures
from dap_server.terminal import saliency as pictures
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

LENS_SECONDS = 600.0
"""Reading step by step may take long; Ctrl+C ends the wait."""
_LENS = re.compile(
    r"(?:watch\s+(?P<watch>'[^']*'|\"[^\"]*\"|\S+))?\s*(?:last\s+(?P<last>[1-9]\d*))?\s*(?P<exact>exact)?"
)
WHICH_HEADS = "attention 3, attention 3.4, attention 3.4 7 for the token at 7, attention MODULE:4, attention all"
_HEADS = re.compile(
    r"(?:(?P<layer>\d+)(?:\.(?P<head>\d+))?|(?P<path>[A-Za-z_][\w.]*)(?::(?P<of>\d+))?)(?:\s+(?P<position>\d+))?"
)


@command(
    "saliency",
    usage="[TOKEN|loss]",
    help="how much each token of the text bears on the next one, or on another: saliency ' Rome'",
)
def saliency(debugger: Debugger, argument: str) -> None:
    of = _objective(argument)
    debugger.screen.show(pictures.view(debugger.client.saliency(of, debugger.frame.id), of.kind))


@command(
    "lens",
    usage="[watch TOKEN] [last COUNT [exact]]",
    help="what each layer would say next: lens watch ' Paris', or behind the last tokens: lens last 6",
)
def lens(debugger: Debugger, argument: str) -> None:
    asked = _LENS.fullmatch(argument)
    if asked is None:
        raise CommandError(f"'{argument}' is not understood: lens, lens watch ' Paris', lens last 6, lens last 6 exact")
    options: dict[str, object] = {"watch": [asked["watch"]]} if asked["watch"] else {}
    if asked["last"]:
        options["positions"] = list(range(-int(asked["last"]), 0))
    body = debugger.client.lens(debugger.frame.id, LENS_SECONDS, exact=bool(asked["exact"]), **options)
    debugger.screen.show(lens_pictures.view(body))


@command(
    "attribution", "attr", usage="[TOKEN]", help="what each layer, module and head added to the logit of the next token"
)
def attribution(debugger: Debugger, argument: str) -> None:
    body = debugger.client.attribution(debugger.frame.id, token=argument or None)
    debugger.screen.show(lens_pictures.attribution_view(body))


def _objective(argument: str) -> GradientObjective:
    if not argument:
        return GradientObjective()
    if argument == "loss":
        return GradientObjective(kind="loss")
    return GradientObjective(token=argument)


@command(
    "attention",
    "attn",
    usage="[LAYER[.HEAD [POSITION]]|all]",
    help="what the heads of a layer do; for one head where the token at a position looks, and a map",
)
def attention(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    if argument == "all":
        debugger.screen.show(maps.all_view(_attention(debugger, layer="")))
        return
    match = _HEADS.fullmatch(argument) if argument else None
    if argument and match is None:
        raise CommandError(f"'{argument}' names no layer and no head: {WHICH_HEADS}")
    layer, head, position = _which(match)
    heads = None if head is None else [head]
    for call in _attention(debugger, layer=layer, heads=heads, max_cells=_cells(head)):
        last = call.queries.end - 1 if position is None else position
        at = Positions(start=last, end=last + 1)
        (row,) = _attention(debugger, layer=call.path, heads=heads, queries=at)
        debugger.screen.show(maps.heads_view(call, row) if head is None else maps.head_view(call, row))


def _attention(debugger: Debugger, **options: Any) -> list[AttentionOfModule]:
    body = debugger.client.attention(debugger.frame.id, **options)
    if not body.calls:
        raise CommandError(f"{body.path or 'the model'} computes no attention that can be heard of")
    return body.calls


def _which(match: re.Match[str] | None) -> tuple[int | str | None, int | None, int | None]:
    """Layer, head and position of an argument."""
    if match is None:
        return None, None, None
    head, position = match["head"] or match["of"], match["position"]
    layer = int(match["layer"]) if match["layer"] else match["path"]
    return layer, int(head) if head else None, int(position) if position else None


def _cells(head: int | None) -> int:
    """As many as are looked at: of all heads only their numbers."""
    return 1 << 12 if head is None else maps.MAP_SIDE**2
