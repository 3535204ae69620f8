"""Commands from a file or a pipe, played as a transcript."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from dap_server.protocol.errors import RequestError
from dap_server.terminal.commands.session import Quit
from dap_server.terminal.commands.table import Command, execute
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

PROMPT = "(llm) "


def play(debugger: Debugger, lines: Iterable[str]) -> bool:
    """Shows and does one line after the other, whatever becomes of each. True if all of them could be done.

    A line that begins with `#` is shown and not done.
    """
    is_good = True
    for line in map(str.strip, lines):
        if not line:
            continue
        if line.startswith("#"):
            debugger.screen.show(Text(f"\n{line}", "dim"))
            continue
        debugger.screen.show(Text(PROMPT, "bold") + Text(line))
        try:
            is_good &= attempt(debugger, line).is_good
        except Quit:
            break
    return is_good


class Attempt:
    """What became of a line: the command if it was one, and whether it could be done."""

    def __init__(self, command: Command | None, is_good: bool) -> None:
        self.command, self.is_good = command, is_good


def attempt(debugger: Debugger, line: str) -> Attempt:
    """Does one line; an error becomes one red line. Raises Quit."""
    command: Command | None = None
    is_good = False
    try:
        command = execute(debugger, line)
        is_good = True
    except (CommandError, RequestError, TimeoutError) as error:
        debugger.screen.error(str(error))
    except KeyboardInterrupt:
        debugger.screen.error("interrupted")
    debugger.show_pending()
    debugger.screen.end_line()
    return Attempt(command, is_good)


def run_to_end(debugger: Debugger) -> None:
    """Lets a stopped session run out, past all breakpoints and the stop at the end."""
    if debugger.is_stopped and debugger.breakpoints:
        debugger.set_breakpoints([])
    if debugger.is_stopped and debugger.filters.on:
        debugger.filters.set({})
    while debugger.is_stopped:
        debugger.resume(debugger.client.continue_)
