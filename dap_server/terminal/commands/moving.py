"""Going on: the model runs until it stops again."""

from __future__ import annotations

from dap_server.protocol.errors import did_you_mean
from dap_server.protocol.types import StepInTarget
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError


@command("continue", "c", help="run to the next breakpoint, or to the end", repeats=True)
def continue_(debugger: Debugger, _argument: str) -> None:
    debugger.resume(debugger.client.continue_)


@command("next", "n", help="run to the next module at this depth; at a step, to the next token", repeats=True)
def next_(debugger: Debugger, _argument: str) -> None:
    debugger.resume(debugger.client.next)


@command("step", "s", "in", usage="[SUBMODULE]", help="go into this module, or into the submodule named", repeats=True)
def step(debugger: Debugger, argument: str) -> None:
    if not argument:
        debugger.resume(debugger.client.step_in)
        return
    debugger.require("supports_step_in_targets_request", "step SUBMODULE")
    target = _target(argument, debugger.client.step_in_targets(debugger.frame.id))
    debugger.resume(lambda: debugger.client.step_in(target.id))


@command("out", "o", "finish", help="run to the end of the module around this one", repeats=True)
def out(debugger: Debugger, _argument: str) -> None:
    debugger.resume(debugger.client.step_out)


@command("pause", help="stop a running model; Ctrl+C does it too")
def pause(debugger: Debugger, _argument: str) -> None:
    raise CommandError("it is stopped already; while it runs, Ctrl+C pauses it")


@command(
    "restart",
    usage="[PROMPT]",
    help="begin again, with another prompt if one is given",
    needs="supports_restart_request",
)
def restart(debugger: Debugger, argument: str) -> None:
    options = dict(debugger.options)
    if argument:
        options = {name: value for name, value in options.items() if name not in ("prompts", "messages")}
        options["prompt"] = argument.strip("\"'") if argument[0] in "\"'" else argument
    debugger.restart(options)


def path_of(target: StepInTarget) -> str:
    """`model.layers.3.self_attn` of the label `model.layers.3.self_attn · LlamaAttention`."""
    return target.label.partition(" · ")[0]


def _target(name: str, targets: list[StepInTarget]) -> StepInTarget:
    for target in targets:
        if name == target.label or path_of(target) == name or path_of(target).endswith(f".{name}"):
            return target
    short = [path_of(target).rpartition(".")[2] for target in targets]
    offers = did_you_mean(name, short) or (f"; there are {', '.join(short)}" if short else "")
    raise CommandError(f"no submodule '{name}' to step into{offers}")
