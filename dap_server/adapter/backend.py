"""One engine as the session uses it: from being started, through loading, to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dap_server.adapter.engine_process import EngineProcess, Exit, Rendezvous, command_line
from dap_server.protocol.errors import NotStopped, RequestError
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.messages import Message
from dap_server.protocol.requests import RunInTerminalRequestArguments
from dap_server.wire.connection import Connection
from dap_server.wire.loopback import Streams
from dap_server.wire.reply import Reply

if TYPE_CHECKING:
    from dap_server.adapter.session import AdapterSession


class Backend:
    """Lives on the session's dispatcher: what other threads report is posted there first."""

    def __init__(self, session: AdapterSession, launch: LaunchArguments, connected: Callable[[], None]) -> None:
        """Starts the process; `connected` is called once it can be talked to. Raises StartError."""
        self.launch = launch
        self.is_ready = False
        """Whether the model is loaded and the breakpoints are placed."""
        self.is_abandoned = False
        """Whether nobody wants to hear of it any more."""
        self._session = session
        self._connection: Connection | None = None
        self._process: EngineProcess | None = None
        self._told_code: int | None = None
        self._rendezvous = Rendezvous()
        self._connected = connected
        self._rendezvous.wait(lambda streams: session.post(lambda: self._connect(streams)))
        if launch.console == "internalConsole":
            self._start_here()
        else:
            self._start_in_terminal()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def request(self, command: str, arguments: Any = None) -> Reply[Any]:
        """Asks the engine; the reply settles on the dispatcher. Raises NotStopped while there is no connection."""
        if self._connection is None:
            raise NotStopped("the model is not loaded yet")
        reply: Reply[Any] = Reply()
        asked = self._connection.request(command, arguments)
        reply.seq = asked.seq
        asked.then(lambda answer: self._session.post(lambda: _pass_on(answer, reply)))
        return reply

    def kill(self) -> None:
        """Ends it at once. Its end is still reported, unless it is abandoned."""
        self._rendezvous.close()
        if self._process is not None:
            self._process.kill()
        elif self._connection is not None:
            self._connection.close()

    def abandon(self) -> None:
        """Ends it, and reports nothing of it any more."""
        self.is_abandoned = True
        self.kill()

    def detach(self) -> None:
        """Leaves it running on its own."""
        self.is_abandoned = True
        if self._connection is not None:
            self._connection.close()

    def exits_with(self, code: int) -> None:
        """The engine says how it will end; for processes that we cannot wait for."""
        self._told_code = code

    def _start_here(self) -> None:
        session = self._session
        self._process = EngineProcess(
            command_line(self.launch, self._rendezvous),
            output=lambda category, text: session.post(lambda: self._printed(category, text)),
            exited=lambda exit: session.post(lambda: self._ended(exit)),
        )

    def _start_in_terminal(self) -> None:
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
            answer.result()
        except RequestError as error:
            self._session.output(f"the editor could not open a terminal: {error}\n", "important")
            self._ended(Exit(1))

    def _connect(self, streams: Streams) -> None:
        if self.is_abandoned:
            streams.close()
            return
        session = self._session
        self._connection = Connection(
            streams,
            received=lambda message: session.post(lambda: self._received(message)),
            closed=lambda _reason: session.post(self._disconnected),
            name="engine",
        )
        self._connection.start()
        self._connected()

    def _received(self, message: Message) -> None:
        if not self.is_abandoned:
            self._session.from_engine(self, message)

    def _printed(self, category: str, text: str) -> None:
        if not self.is_abandoned:
            self._session.output(text, category)

    def _disconnected(self) -> None:
        if self._process is None:  # in a terminal: its connection is all we know of it
            self._ended(Exit(self._told_code if self._told_code is not None else 1))

    def _ended(self, exit: Exit) -> None:
        self._rendezvous.close()
        if not self.is_abandoned:
            self.is_abandoned = True
            self._session.engine_ended(self, exit)


def _pass_on(answer: Reply[Any], to: Reply[Any]) -> None:
    try:
        to.settle(answer.result())
    except RequestError as error:
        to.fail(error)
