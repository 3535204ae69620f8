"""Breakpoints."""

from __future__ import annotations

from dap_server.protocol.types import FunctionBreakpoint
from dap_server.terminal import render
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError


@command(
    "break",
    "b",
    usage="NAME [if CONDITION]",
    help="stop at a module path, glob, class, 'step', 'sample', or an operation: aten::mm, *.mlp/aten::silu",
    needs="supports_function_breakpoints",
)
def break_(debugger: Debugger, argument: str) -> None:
    name, _, condition = argument.partition(" if ")
    if not name.strip():
        raise CommandError("a name is missing: break *.layers.3")
    if condition:
        debugger.require("supports_conditional_breakpoints", "break NAME if CONDITION")
    wanted = FunctionBreakpoint(name=name.strip(), condition=condition.strip() or None)
    others = [known for known in debugger.breakpoints if known.name != wanted.name]
    debugger.set_breakpoints([*others, wanted])
    debugger.screen.show(render.breakpoints([wanted.name], debugger.states[-1:], len(debugger.breakpoints)))


@command("breakpoints", "bl", help="all breakpoints")
def breakpoints(debugger: Debugger, _argument: str) -> None:
    names = [f"{b.name} if {b.condition}" if b.condition else b.name for b in debugger.breakpoints]
    debugger.screen.show(render.breakpoints(names, debugger.states))


@command("delete", "d", usage="NUMBER|NAME|all", help="remove a breakpoint")
def delete(debugger: Debugger, argument: str) -> None:
    kept = [
        known
        for number, known in enumerate(debugger.breakpoints, start=1)
        if argument not in ("all", str(number), known.name)
    ]
    if len(kept) == len(debugger.breakpoints):
        raise CommandError(f"no breakpoint '{argument}': 'breakpoints' lists them, 'delete all' removes all")
    debugger.set_breakpoints(kept)
    breakpoints(debugger, "")
