"""Going back: what has run runs again, as far as an earlier place."""

from __future__ import annotations

from typing import cast

from dap_server.modelmap.places import Phase
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

BACK = "supports_step_back"
HOW_TO_GO = "goto 3, goto 3 model.layers.2 or goto 3 sample after"


@command(
    "back",
    "reverse-next",
    "rn",
    help="back to the module before this one at this depth; at a step, to the previous token",
    needs=BACK,
    repeats=True,
)
def back(debugger: Debugger, _argument: str) -> None:
    debugger.travel(debugger.client.step_back)


@command(
    "rstep", "reverse-step", "rs", help="back to the very place before this one, at any depth", needs=BACK, repeats=True
)
def reverse_step(debugger: Debugger, _argument: str) -> None:
    debugger.travel(debugger.client.reverse_step_in)


@command("rout", "reverse-finish", help="back to the beginning of the module around this one", needs=BACK, repeats=True)
def reverse_out(debugger: Debugger, _argument: str) -> None:
    debugger.travel(debugger.client.reverse_step_out)


@command(
    "rcontinue",
    "reverse-continue",
    "rc",
    help="back to the last breakpoint before here, or to the beginning",
    needs=BACK,
    repeats=True,
)
def reverse_continue(debugger: Debugger, _argument: str) -> None:
    debugger.travel(debugger.client.reverse_continue)


@command(
    "goto",
    usage="STEP [PATH] [before|after]",
    help="to any place of any step, past or future: goto 3 sample",
    needs=BACK,
)
def goto(debugger: Debugger, argument: str) -> None:
    words = argument.split()
    phase = cast(Phase, words.pop()) if words and words[-1] in ("before", "after") else "before"
    if not 1 <= len(words) <= 2 or not words[0].isdigit():
        problem = f"'{argument}' is no place" if argument else "a step is missing"
        raise CommandError(f"{problem}: {HOW_TO_GO}")
    step, path = int(words[0]), words[1] if len(words) > 1 else None
    debugger.travel(lambda: debugger.client.run_to_step(step, path, phase))


@command(
    "restart-frame", "rf", help="back to the beginning of the frame that you look at", needs="supports_restart_frame"
)
def restart_frame(debugger: Debugger, _argument: str) -> None:
    frame = debugger.frame
    debugger.travel(lambda: debugger.client.restart_frame(frame.id))
