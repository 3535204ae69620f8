"""The session itself: help and the end."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from dap_server.protocol.errors import did_you_mean
from dap_server.terminal.commands.table import COMMANDS, Command, command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

# By the module that commands stand in, in the order of the help.
TOPICS = {
    "moving": "Go on",
    "travelling": "Go back",
    "operations": "Operations",
    "looking": "Look",
    "mapping": "The model map",
    "tensors": "Tensors",
    "editing": "Change the run",
    "choosing": "Look at the choice of a token",
    "keeping": "Look at what is kept",
    "analysing": "Work out",
    "effects": "What edits did",
    "breaking": "Breakpoints",
    "catching": "Anomalies, and what it costs to watch",
    "session": "Session",
}


class Quit(Exception):
    """The user has had enough."""


@command("help", "h", "?", usage="[COMMAND]", help="this list")
def help_(debugger: Debugger, argument: str) -> None:
    chosen = sorted(dict.fromkeys(COMMANDS.values()), key=lambda command: list(TOPICS).index(command.topic))
    if argument:
        if argument not in COMMANDS:
            raise CommandError(
                f"no command '{argument}'{did_you_mean(argument, [name for name in COMMANDS if len(name) > 2], 1)}"
            )
        chosen = [COMMANDS[argument]]
    debugger.screen.show(_table(chosen))
    if not argument:
        debugger.screen.show(Text("Anything else is Python in the frame that you look at.", "dim"))


@command("quit", "q", "exit", help="end the session")
def quit_(_debugger: Debugger, _argument: str) -> None:
    raise Quit


def _table(commands: list[Command]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    topic = ""
    for item in commands:
        if item.topic != topic:
            topic = item.topic
            table.add_row(Text(TOPICS.get(topic, topic), "bold"), "")
        short = f" ({', '.join(item.names[1:])})" if item.names[1:] else ""
        table.add_row(Text(f"  {item.name} {item.usage}".rstrip(), "cyan") + Text(short, "dim"), item.help)
    return table
