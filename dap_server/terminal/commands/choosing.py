"""How a token is chosen."""

from __future__ import annotations

from dap_server.terminal import choice
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger


@command("sampling", "sa", help="how the token of this step is chosen, from logits processor to logits processor")
def sampling(debugger: Debugger, _argument: str) -> None:
    body = debugger.client.sampling(debugger.frame.id, choice.CANDIDATES)
    debugger.screen.show(choice.view(body))
