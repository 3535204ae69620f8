"""The table of commands, and how a line of input finds its command."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

Function = Callable[[Debugger, str], None]


class Command(NamedTuple):
    """One command.

    Attributes:
        names: the full one, then short forms.
        usage: what may follow the name.
        needs: field of `Capabilities` without which it says that it cannot be done.
        repeats: whether an empty line does it again.
        topic: under which the help lists it.
    """

    names: tuple[str, ...]
    usage: str
    help: str
    needs: str | None
    repeats: bool
    topic: str
    function: Function

    @property
    def name(self) -> str:
        return self.names[0]


COMMANDS: dict[str, Command] = {}
"""By every name."""


def command(
    *names: str, help: str, usage: str = "", needs: str | None = None, repeats: bool = False
) -> Callable[[Function], Function]:
    """Registers a function as a command."""

    def register(function: Function) -> Function:
        topic = function.__module__.rpartition(".")[2]
        made = Command(names, usage, help, needs, repeats, topic, function)
        for name in names:
            assert name not in COMMANDS, f"two commands '{name}'"
            COMMANDS[name] = made
        return function

    return register


def parse(line: str) -> tuple[Command, str] | None:
    """The command of a line and what follows it; None when the line is no command but Python.

    `n` is a command and `n = 3` is not; nor is `p.shape`.
    """
    word, _, argument = line.strip().partition(" ")
    argument = argument.strip()
    found = COMMANDS.get(word)
    if found is None or argument.startswith("="):
        return None
    return found, argument


def execute(debugger: Debugger, line: str) -> Command | None:
    """Does what a line says: a command, or Python in the frame that is looked at.

    Raises:
        CommandError, RequestError, PathError: it cannot be done; the text is for the user.
    """
    parsed = parse(line)
    if parsed is None:
        COMMANDS["print"].function(debugger, line.strip())
        return None
    found, argument = parsed
    if argument and not found.usage:
        raise CommandError(f"'{found.name}' stands alone: '{argument}' is not understood")
    if found.needs is not None:
        debugger.require(found.needs, found.name)
    found.function(debugger, argument)
    return found
