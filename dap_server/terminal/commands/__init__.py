"""The commands of the terminal: each is one function in a table. Importing this package fills it.

    @command("next", "n", help="run to the next module at this depth")
    def next_(debugger: Debugger, argument: str) -> None: ...

What a function raises as a CommandError or RequestError is shown in one line.
"""

from dap_server.terminal.commands import (
    analysing,
    breaking,
    catching,
    choosing,
    editing,
    effects,
    keeping,
    looking,
    mapping,
    moving,
    operations,
    session,
    tensors,
    travelling,
)

__all__ = [
    "analysing",
    "breaking",
    "catching",
    "choosing",
    "editing",
    "effects",
    "keeping",
    "looking",
    "mapping",
    "moving",
    "operations",
    "session",
    "tensors",
    "travelling",
]
