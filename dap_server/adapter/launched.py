"""An engine that we start: from its process, through the connection that it makes, to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from dap_server.adapter.backend import Backend
from dap_server.adapter.endings import Exit
from dap_server.adapter.engine_process import EngineProcess, Rendezvous, StartError, command_line
from dap_server.protocol.errors import RequestError
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.requests import RunInTerminalRequestArguments, RunInTerminalResponseBody
from dap_server.wire.reply import Reply

if TYPE_CHECKING:
    from dap_server.adapter.session import AdapterSession


DRAIN_SECONDS = 2.0
"""How long what an ended process has sent is waited for; a child of it may hold the connection for ever."""
NO_TERMINAL = "set 'console' to 'internalConsole' to do without"


class Launched(Backend):
    """A process of ours, or one in a terminal of the editor."""

    def __init__(self, session: AdapterSession, launch: LaunchArguments, connected: Callable[[], None]) -> None:
        """Starts the process; `connected` is called once it can be talked to. Raises StartError."""
        super().__init__(session, connected)
        self.launch = launch
        self._process: EngineProcess | None = None
        self._terminal_pid: int | None = None
        self._told_code: int | None = None
        self._exit: Exit | None = None
        self._is_disconnected = False
        self._rendezvous = Rendezvous()
        self._rendezvous.wait(lambda streams: session.post(lambda: self._connect(streams)))
        try:
            if launch.console == "internalConsole":
                self._start_here()
            else:
                self._start_in_terminal()
        except RequestError:
            self._rendezvous.close()
            raise

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else self._terminal_pid

    def kill(self) -> None:
        """Ends it at once. Its end is still reported, unless it is abandoned."""
        self._rendezvous.close()
        if self._process is not None:
            self._process.kill()
        elif self._connection is not None:
            self._connection.close()
        else:  # not even connected, and there is nothing to connect to any more
            self._session.post(lambda: self._ended(Exit(1)))

    def exits_with(self, code: int) -> None:
        """The engine says how it will end; for processes that we cannot wait for."""
        self._told_code = code

    def ended_early(self, exit: Exit | None) -> str:
        began = "it began to run" if self.launch.is_program else "the model was loaded"
        text = f"{self._what} {exit} before {began}; its output is in the debug console"
        python = self.launch.python
        if python and exit is not None and exit.code == 1:
            text += f". Is llm-dap installed for {python}? ({python} -m pip install llm-dap)"
        return text

    def stuck(self, seconds: float) -> str:
        what = "program" if self.launch.is_program else "model"
        return f"the {what} did not end within {seconds:g} s: its process is killed\n"

    @property
    def _what(self) -> str:
        return "the program's process" if self.launch.is_program else "the model's process"

    def _start_here(self) -> None:
        session = self._session
        self._process = EngineProcess(
            command_line(self.launch, self._rendezvous),
            output=lambda category, text: session.post(lambda: self._printed(category, text)),
            exited=lambda exit: session.post(lambda: self._exited(exit)),
        )

    def _start_in_terminal(self) -> None:
        client = self._session.client_info
        if client is None or not client.supports_run_in_terminal_request:
            raise StartError(f"'console': this client opens no terminals: {NO_TERMINAL}")
        command = command_line(self.launch, self._rendezvous)
        is_integrated = self.launch.console == "integratedTerminal"
        arguments = RunInTerminalRequestArguments(
            kind="integrated" if is_integrated else "external",
            title="llm-dap",
            cwd=command.cwd or "",
            args=command.args,
            env=command.env,
        )
        reply = self._session.client.request("runInTerminal", arguments)
        reply.then(lambda answer: self._session.post(lambda: self._in_terminal(answer)))

    def _in_terminal(self, answer: Reply[Any]) -> None:
        try:
            body = msgspec.json.decode(answer.result() or b"{}", type=RunInTerminalResponseBody)
        except (RequestError, msgspec.DecodeError) as error:
            if not self.is_abandoned:
                why = StartError(f"the editor could not open a terminal: {error}; {NO_TERMINAL}")
                self._session.start_failed(self, why)
            return
        self._terminal_pid = body.process_id

    def _printed(self, category: str, text: str) -> None:
        if not self.is_abandoned:
            self._session.output(text, category)

    def _exited(self, exit: Exit) -> None:
        """The process has ended; its last messages may still be on their way."""
        self._exit = exit
        if self._connection is None or self._is_disconnected:
            self._ended(exit)
        else:
            self._session.later(DRAIN_SECONDS, lambda: self._ended(exit))

    def _disconnected(self) -> None:
        self._is_disconnected = True
        if self._exit is not None:
            self._ended(self._exit)
        elif self._process is None:  # in a terminal: its connection is all we know of it
            self._ended(Exit(self._told_code if self._told_code is not None else 1))

    def _ended(self, exit: Exit | None) -> None:
        self._rendezvous.close()
        super()._ended(exit)
