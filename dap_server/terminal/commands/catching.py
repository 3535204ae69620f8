"""Filters of anomalies, what they have caught, and what breakpoints cost."""

from __future__ import annotations

from dap_server.terminal import anomalies, render
from dap_server.terminal.breakpoints import described
from dap_server.terminal.commands.table import command
from dap_server.terminal.costs import costs as table_of
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError
from dap_server.terminal.filters import changed, read

INFO = "supports_exception_info_request"


@command(
    "catch",
    usage="[off] [FILTER,… [if …]]",
    help="stop where something is wrong: catch residual, catch residual if growth > 10, catch off nonFinite; alone it "
    "lists the filters, their thresholds and what they cost",
    needs="exception_breakpoint_filters",
)
def catch(debugger: Debugger, argument: str) -> None:
    filters = debugger.filters
    typed, before = read(argument, filters.known) if argument else None, filters.on
    if typed is not None:
        if typed.condition:
            debugger.require("supports_exception_filter_options", "catch FILTER if CONDITION")
        filters.set(changed(filters.on, typed))
    about = None if typed is None else {*typed.ids} & {*before, *filters.on}
    shown = [known for known in filters.known if about is None or known.filter in about]
    if not shown:
        raise CommandError("none of them was on")
    debugger.screen.show(anomalies.filters(shown, filters.on, filters.states))


@command("info", "why", help="what was caught here, and the way back to what made it", needs=INFO)
def info(debugger: Debugger, _argument: str) -> None:
    debugger.require_stop()
    assert debugger.stopped is not None
    if debugger.stopped.reason != "exception":
        raise CommandError("no anomaly has stopped it here: 'catch' says what is watched for")
    found = debugger.client.exception_info()
    debugger.screen.show(anomalies.anomaly(found))
    if found.details is not None and found.details.stack_trace:
        debugger.screen.show(render.note(found.details.stack_trace.rstrip()))


@command("costs", help="what each breakpoint costs the run, and where it is judged")
def costs(debugger: Debugger, _argument: str) -> None:
    pairs = zip(debugger.breakpoints, debugger.states, strict=True)
    names = {state.id: described(each) for each, state in pairs if state.id is not None}
    caught = debugger.filters.states.items()
    names |= {state.id: f"catch {id}" for id, state in caught if state.id is not None}
    debugger.screen.show(table_of(debugger.client.breakpoint_costs(), names))
