"""What the model keeps of earlier tokens."""

from __future__ import annotations

from dap_server.protocol.types import Variable
from dap_server.terminal import kept
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

LAYERS_AT_ONCE = 200


@command("cache", "kv", help="what the model keeps of earlier tokens: layers, tokens, bytes")
def cache(debugger: Debugger, _argument: str) -> None:
    debugger.require_stop()
    fetch = debugger.client.variables
    rows = _whole(debugger)
    parts = {row.name: row for row in rows if row.indexed_variables and not row.type}
    layers = {
        name: fetch(row.variables_reference, filter="indexed", start=0, count=LAYERS_AT_ONCE)
        for name, row in parts.items()
    }
    debugger.screen.show(kept.view([row for row in rows if row.name not in parts], layers))


def _whole(debugger: Debugger) -> list[Variable]:
    """The Cache scope of the step, or of the model: that of a layer has only its own."""
    running = [frame for frame in debugger.frames if frame.presentation_hint is None]
    for frame in reversed(running):
        for scope in debugger.client.scopes(frame.id):
            if scope.name == "Cache":
                return debugger.client.variables(scope.variables_reference)
    raise CommandError("the model keeps nothing of earlier tokens here")
