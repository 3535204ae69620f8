"""An adapter in a few lines: a connection whose answers the test says."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec

from dap_server.protocol.errors import RequestError
from dap_server.protocol.messages import Message, Request
from dap_server.terminal.client import Client, Observer
from dap_server.wire.connection import Connection
from dap_server.wire.loopback import SocketStreams
from dap_server.wire.reply import Reply
from tests.schema import validate

Answer = Callable[[dict[str, Any]], object]
"""Arguments to body; raises a RequestError to refuse."""

TIMEOUT = 10.0


class Unanswered(Exception):
    """Raised by an answer that comes later: the request is in `unanswered`."""


class FakeAdapter:
    """Answers what `on` was told to, and everything else with an empty success. `client` talks to it.

    Attributes:
        asked: the commands that came, in their order, with their arguments.
    """

    def __init__(self, observer: Observer | None = None, **answers: Answer) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.unanswered: list[Request] = []
        self._answers = answers
        ours, theirs = socket.socketpair()
        self._streams = SocketStreams(ours)
        self.connection = Connection(self._streams, self._received, lambda _: None, "fake adapter", _validated)
        self.connection.start()
        self.client = Client(SocketStreams(theirs), observer=observer, timeout=TIMEOUT)

    def on(self, command: str, answer: Answer) -> Self:
        self._answers[command] = answer
        return self

    def event(self, name: str, **body: object) -> None:
        self.connection.event(name, body or None)

    def ask(self, command: str, arguments: object = None) -> Reply[msgspec.Raw]:
        """A reverse request."""
        return self.connection.request(command, arguments)

    def arguments_of(self, command: str) -> dict[str, Any]:
        """Of the last request of this command."""
        return next(arguments for name, arguments in reversed(self.asked) if name == command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close(grace=TIMEOUT)
        self.connection.close()
        self.connection.thread.join(TIMEOUT)
        self._streams.reader.close()
        with contextlib.suppress(OSError):  # an answer that the client did not wait for
            self._streams.writer.close()

    def _received(self, message: Message) -> None:
        assert isinstance(message, Request)
        arguments = msgspec.json.decode(bytes(message.arguments)) if message.arguments else {}
        self.asked.append((message.command, arguments))
        try:
            body = self._answers[message.command](arguments) if message.command in self._answers else None
        except Unanswered:
            self.unanswered.append(message)
        except RequestError as error:
            self.connection.respond_error(message, error)
        else:
            self.connection.respond(message, body)


def _validated(direction: str, body: bytes) -> None:
    validate(msgspec.json.decode(body))
