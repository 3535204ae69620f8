"""The operations of a model, one by one."""

from __future__ import annotations

from dap_server.terminal import listing
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

DISASSEMBLE = "supports_disassemble_request"
GRANULARITY = "supports_stepping_granularity"
ROWS = 20


@command(
    "disassemble",
    "dis",
    usage="[ROWS]",
    help="the operations around here, with shapes, dtypes and the lines that call them",
    needs=DISASSEMBLE,
)
def disassemble(debugger: Debugger, argument: str) -> None:
    if argument and (not argument.isdigit() or argument == "0"):
        raise CommandError(f"'{argument}' is no number of rows: disassemble 40")
    here = debugger.frame.instruction_pointer_reference
    if here is None:
        raise CommandError("this frame is at no operation: go to a module, or select the frame of one")
    count = int(argument or ROWS)
    rows = debugger.client.disassemble(here, -(count // 3), count)
    debugger.screen.show(listing.listing(rows, here))


@command("stepi", "si", help="run to the next operation", needs=GRANULARITY, repeats=True)
def stepi(debugger: Debugger, _argument: str) -> None:
    debugger.resume(lambda: debugger.client.step_in(granularity="instruction"))


@command("nexti", "ni", help="the same: an operation has nothing inside to step over", needs=GRANULARITY, repeats=True)
def nexti(debugger: Debugger, _argument: str) -> None:
    debugger.resume(lambda: debugger.client.next(granularity="instruction"))


@command(
    "outi",
    "finishi",
    help="run to the first operation behind the module around this one",
    needs=GRANULARITY,
    repeats=True,
)
def outi(debugger: Debugger, _argument: str) -> None:
    debugger.resume(lambda: debugger.client.step_out(granularity="instruction"))


@command("backi", "reverse-stepi", "rsi", help="back to the operation before", needs=GRANULARITY, repeats=True)
def backi(debugger: Debugger, _argument: str) -> None:
    debugger.require("supports_step_back", "backi")
    debugger.travel(lambda: debugger.client.step_back(granularity="instruction"))
