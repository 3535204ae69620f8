"""What is worked out about a run."""

from __future__ import annotations

from dap_server.protocol.llm.gradients import GradientObjective
from dap_server.terminal import saliency as pictures
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger


@command(
    "saliency",
    usage="[TOKEN|loss]",
    help="how much each token of the text bears on the next one, or on another: saliency ' Rome'",
)
def saliency(debugger: Debugger, argument: str) -> None:
    of = _objective(argument)
    debugger.screen.show(pictures.view(debugger.client.saliency(of, debugger.frame.id), of.kind))


def _objective(argument: str) -> GradientObjective:
    if not argument:
        return GradientObjective()
    if argument == "loss":
        return GradientObjective(kind="loss")
    if argument.isdigit():
        return GradientObjective(token=int(argument))
    quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'"
    return GradientObjective(token=argument[1:-1] if quoted else argument)
