"""A client of a debug adapter: the terminal's, and the hands of the tests. Every wait ends; nothing polls.

    with Client.spawn() as client:
        client.start(model="fixtures/models/atlas", prompt="The capital of France is", breakpoints=["*.layers.3"])
        client.wait_for_stop()
        print(client.top_frame().name, client.scope("Inputs"))

What can be asked is in `requests`, waiting for what comes by itself in `waits`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from dap_server.protocol import tables
from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.errors import Cancelled, RequestError
from dap_server.protocol.llm.tables import LLM_EVENTS, LLM_REQUESTS
from dap_server.protocol.messages import Event, Message, Request, Struct
from dap_server.protocol.requests import CancelArguments, DisconnectArguments
from dap_server.protocol.types import FunctionBreakpoint
from dap_server.terminal.children import Children
from dap_server.terminal.inbox import Arrival
from dap_server.terminal.process import AdapterProcess
from dap_server.terminal.requests import Requests
from dap_server.terminal.waits import Waits
from dap_server.wire.connection import Connection
from dap_server.wire.loopback import LOOPBACK, streams
from dap_server.wire.reply import Reply
from dap_server.wire.streams import Streams

TIMEOUT = 60.0
"""Seconds that any wait lasts at most when the caller does not say."""
GRACE = 10.0
"""Seconds that an adapter has to go by itself."""

Observer = Callable[[str, dict[str, Any]], None]
"""Sees every message: "sent" or "received", and the message."""


class Client(Requests, Waits):
    """One debugging session.

    Threads: the connection's reader thread queues events and answers reverse requests; all else is the caller's.

    Attributes:
        capabilities: what the adapter can do, kept up to date.
        thread_id: of the thread that stopped last.
    """

    def __init__(
        self,
        streams: Streams,
        process: AdapterProcess | None = None,
        observer: Observer | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(timeout)
        self.arrived: Callable[[], None] | None = None
        """Called on the reader thread after an event was queued, or the connection ended."""
        self._streams, self._process = streams, process
        self._children = Children()
        self._is_closed = self.is_attached = False
        observe = None if observer is None else self._careful(observer)
        self._connection = Connection(streams, self._received, self._ended, "client", observe)
        self._connection.start()

    @classmethod
    def spawn(
        cls,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        observer: Observer | None = None,
        timeout: float = TIMEOUT,
    ) -> Self:
        """Starts an adapter of its own over pipes: `python -m dap_server adapter` unless another command is given."""
        process = AdapterProcess(command, env, cwd)
        return cls(process.streams, process, observer, timeout)

    @classmethod
    def connect(
        cls, port: int, host: str = LOOPBACK, observer: Observer | None = None, timeout: float = TIMEOUT
    ) -> Self:
        """Connects to an adapter that listens."""
        return cls(streams(socket.create_connection((host, port), timeout=timeout)), None, observer, timeout)

    @property
    def adapter_pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def has_ended(self) -> bool:
        return self.inbox.is_closed

    def start(self, *, breakpoints: Sequence[str | FunctionBreakpoint] = (), **options: Any) -> None:
        """The whole standard sequence, until the model has loaded. `options` are fields of `LaunchArguments`."""
        self.begin(breakpoints=breakpoints, **options).result(self.timeout)

    def begin(
        self,
        *,
        breakpoints: Sequence[str | FunctionBreakpoint] = (),
        configure: Callable[[], None] | None = None,
        **options: Any,
    ) -> Reply[msgspec.Raw]:
        """`start` without waiting for the model: gives the pending answer to `launch`, or `attach` with `connect`.

        The filters of anomalies that are on by default are switched on. `configure` sets breakpoints and filters
        instead, when the adapter takes them.
        """
        self.initialize()
        self.is_attached = "connect" in options
        launched = self.attach(**options) if self.is_attached else self.launch(**options)
        self.wait_for("initialized", unless=launched)
        if configure is None:
            self.set_function_breakpoints(*breakpoints)
            if filters := self.capabilities.exception_breakpoint_filters:
                self.set_exception_breakpoints(*(each.filter for each in filters if each.default))
        else:
            configure()
        self.configuration_done()
        return launched

    def request(self, command: str, arguments: Struct | dict[str, Any] | None = None) -> Reply[msgspec.Raw]:
        return self._connection.request(command, arguments)

    def ask(self, command: str, arguments: Struct | dict[str, Any] | None = None, timeout: float | None = None) -> Any:
        """Sends a request and waits for the decoded body of its answer.

        Raises:
            RequestError: the adapter refused; a ConnectionClosed when it went away instead of answering; Cancelled by
                Ctrl+C, which cancels the request.
            TimeoutError: no answer in time.
        """
        self.inbox.raise_failure()
        seconds = self.timeout if timeout is None else timeout
        reply = self.request(command, arguments)
        try:
            body = reply.result(seconds)
        except KeyboardInterrupt:
            self.request("cancel", CancelArguments(request_id=reply.seq))
            raise Cancelled from None
        except TimeoutError:
            raise TimeoutError(f"no answer to '{command}' within {seconds:g} s") from None
        known = tables.REQUESTS.get(command) or LLM_REQUESTS.get(command)
        return _decoded(body, known.body if known else Any)

    def close(self, grace: float = GRACE) -> None:
        """Ends the session, the adapter that was started for it, and the debuggee that it started; kills what stays."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self.inbox.is_closed:
            try:
                self.request("disconnect", DisconnectArguments(terminate_debuggee=not self.is_attached)).result(grace)
            except (RequestError, TimeoutError):
                pass  # gone, or about to be
        if self._process is None:
            self._connection.close()
        else:
            self._process.end(grace)
        self._connection.thread.join(grace)
        if (
            not self._connection.thread.is_alive()
        ):  # a stream that a thread reads cannot be closed without waiting for it
            _close(self._streams)
        self._children.end(grace)
        self.inbox.raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _how_the_adapter_ended(self) -> str | None:
        if self._process is None or not self.inbox.is_closed:
            return None
        return f"the adapter exited with {self._process.exit_code_within(1.0)}"

    def _received(self, message: Message) -> None:
        try:
            if isinstance(message, Event):
                self._queue(message)
            elif isinstance(message, Request):
                self._answer(message)
        except Exception as error:
            self.inbox.fail(error)

    def _queue(self, event: Event) -> None:
        kind = {**tables.EVENTS, **LLM_EVENTS}.get(event.event, Any)
        arrival = Arrival(event.event, _decoded(event.body, kind))
        match event.event:
            case "output":
                self.outputs.append(arrival.body)
            case "stopped" if arrival.body.thread_id is not None:
                self.thread_id = arrival.body.thread_id
            case "exited":
                self.exit_code = arrival.body.exit_code
            case "capabilities":
                self.capabilities = _merged(self.capabilities, arrival.body.capabilities)
        self.inbox.put(arrival)
        if self.arrived is not None:
            self.arrived()

    def _answer(self, request: Request) -> None:
        try:
            body = self._children.answer(request)
        except RequestError as error:
            self._connection.respond_error(request, error)
        else:
            self._connection.respond(request, body)

    def _ended(self, reason: str | None) -> None:
        self.inbox.close(reason)
        if self.arrived is not None:
            self.arrived()

    def _careful(self, observer: Observer) -> Callable[[str, bytes], None]:
        """An observer that objects ends the next wait, not the reader thread."""

        def observe(direction: str, body: bytes) -> None:
            try:
                observer(direction, msgspec.json.decode(body))
            except Exception as error:
                self.inbox.fail(error)

        return observe


def _close(streams: Streams) -> None:
    for stream in (streams.writer, streams.reader):
        try:
            stream.close()
        except (OSError, ValueError):
            pass  # the peer is gone, and what was not sent yet with it


def _decoded(body: msgspec.Raw, kind: Any) -> Any:
    if kind is None or not body:
        return None
    return msgspec.json.decode(bytes(body), type=kind)


def _merged(old: Capabilities, changes: Capabilities) -> Capabilities:
    return msgspec.convert({**msgspec.to_builtins(old), **msgspec.to_builtins(changes)}, Capabilities)
