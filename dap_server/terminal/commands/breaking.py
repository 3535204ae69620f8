"""Breakpoints."""

from __future__ import annotations

from dap_server.terminal import render
from dap_server.terminal.breakpoints import VALUE, Typed, described, is_same_place, read, wanted
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError


@command(
    "break",
    "b",
    usage="NAME [if …] [hits …] [log …]",
    help="stop at a module path, glob, class, 'step', 'sample', an operation: aten::mm, *.mlp/aten::silu, a line of "
    "the map, ':12', or where 'value model.norm.weight[3]' changes; 'if prob < 0.1' and 'hits % 10' say when, "
    "'log {text!r}' writes instead",
    needs="supports_function_breakpoints",
)
def break_(debugger: Debugger, argument: str) -> None:
    typed = read(argument)
    _require(debugger, typed)
    added = wanted(typed, debugger.map_in_use, debugger.data_id)
    others = [known for known in debugger.breakpoints if not any(is_same_place(known, new) for new in added)]
    debugger.set_breakpoints([*others, *added])
    first = len(debugger.breakpoints) - len(added) + 1
    debugger.screen.show(render.breakpoints([described(b) for b in added], debugger.states[-len(added) :], first))


def _require(debugger: Debugger, typed: Typed) -> None:
    if typed.name.startswith(VALUE):
        debugger.require("supports_data_breakpoints", "break value WHAT")
    if typed.condition:
        debugger.require("supports_conditional_breakpoints", "break NAME if CONDITION")
    if typed.hits:
        debugger.require("supports_hit_conditional_breakpoints", "break NAME hits COUNT")
    if typed.log:
        debugger.require("supports_log_points", "break NAME log MESSAGE")


@command("breakpoints", "bl", help="all breakpoints, how they are judged and what that costs; filters of anomalies too")
def breakpoints(debugger: Debugger, _argument: str) -> None:
    caught = {f"catch {id}": state for id, state in debugger.filters.states.items()}
    debugger.screen.show(
        render.breakpoints([described(b) for b in debugger.breakpoints], debugger.states, caught=caught)
    )


@command("delete", "d", usage="NUMBER|NAME|all", help="remove a breakpoint")
def delete(debugger: Debugger, argument: str) -> None:
    kept = [
        known
        for number, known in enumerate(debugger.breakpoints, start=1)
        if argument not in ("all", str(number), known.name)
    ]
    if len(kept) == len(debugger.breakpoints) and argument in debugger.filters.on:
        raise CommandError(f"'{argument}' is a filter: catch off {argument}")
    if len(kept) == len(debugger.breakpoints):
        raise CommandError(f"no breakpoint '{argument}': 'breakpoints' lists them, 'delete all' removes all")
    debugger.set_breakpoints(kept)
    breakpoints(debugger, "")
