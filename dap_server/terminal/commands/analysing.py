"""What is worked out about a run."""

from __future__ import annotations

import re

from dap_server.protocol.llm.gradients import GradientObjective
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
    if argument.isdigit():
        return GradientObjective(token=int(argument))
    quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'"
    return GradientObjective(token=argument[1:-1] if quoted else argument)
