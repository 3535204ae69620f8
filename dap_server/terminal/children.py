"""What the adapter asks of a client: to start processes in its terminal. They end with the session."""

from __future__ import annotations

import os
import subprocess

import msgspec

from dap_server.protocol.errors import InvalidArguments, UnknownRequest
from dap_server.protocol.messages import Request
from dap_server.protocol.requests import RunInTerminalRequestArguments, RunInTerminalResponseBody


class Children:
    """Processes that were started for the adapter. They share our terminal and have no input."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def answer(self, request: Request) -> RunInTerminalResponseBody:
        """The answer to a reverse request.

        Raises:
            UnknownRequest: anything but `runInTerminal`.
            InvalidArguments: the command cannot be started.
        """
        if request.command != "runInTerminal":
            raise UnknownRequest(f"this client does not know the request '{request.command}'")
        args = msgspec.json.decode(bytes(request.arguments) or b"{}", type=RunInTerminalRequestArguments)
        env = {**os.environ, **(args.env or {})}
        present = {name: value for name, value in env.items() if value is not None}
        try:
            child = subprocess.Popen(
                args.args, cwd=args.cwd or None, env=present, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise InvalidArguments(f"cannot start {args.args[:1]}: {error}") from None
        self._running.append(child)
        return RunInTerminalResponseBody(process_id=child.pid)

    def end(self, grace: float) -> None:
        """Waits for all of them, and kills those that do not go."""
        for child in self._running:
            try:
                child.wait(grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
