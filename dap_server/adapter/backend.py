"""One engine as the session uses it, from the connection to its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from dap_server.adapter.endings import Exit, ProcessEnded
from dap_server.protocol.errors import NotStopped, RequestError
from dap_server.protocol.messages import Message
from dap_server.wire.connection import Connection, ConnectionClosed
from dap_server.wire.reply import Reply
from dap_server.wire.streams import Streams

if TYPE_CHECKING:
    from dap_server.adapter.session import AdapterSession


class Backend(ABC):
    """Lives on the session's dispatcher: what other threads report is posted there first."""

    def __init__(self, session: AdapterSession, connected: Callable[[], None]) -> None:
        """`connected` is called once the engine can be talked to."""
        self.is_ready = False
        """Whether the model is loaded and the breakpoints are placed."""
        self.is_abandoned = False
        """Whether nobody wants to hear of it any more."""
        self.is_over = False
        """Whether it has said that it ends, without saying how."""
        self._session = session
        self._connection: Connection | None = None
        self._connected = connected

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Of its process, as far as it is known."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it, or the connection to it, at once. Its end is still reported, unless it is abandoned."""

    @abstractmethod
    def exits_with(self, code: int) -> None:
        """The engine says how it will end; for processes that we cannot wait for."""

    @abstractmethod
    def ended_early(self, exit: Exit | None) -> str:
        """What is said of an end before it was ready."""

    @abstractmethod
    def stuck(self, seconds: float) -> str:
        """What is said when it has not ended within some seconds of being told to, and is ended or left."""

    @abstractmethod
    def _disconnected(self) -> None:
        """The connection is closed, and everything that came by it has been received."""

    @property
    def unknown_end(self) -> str:
        """What is said of an end of which nobody can know more; nothing where it needs no word."""
        return ""

    def request(self, command: str, arguments: Any = None) -> Reply[Any]:
        """Asks the engine; the reply settles on the dispatcher.

        Raises:
            NotStopped: there is no connection yet.
            ProcessEnded: nor will there be one again.
        """
        if self.is_abandoned:
            raise ProcessEnded(f"'{command}': the model's process has ended: 'restart' starts it again")
        if self._connection is None:
            raise NotStopped("the model is not loaded yet")
        reply: Reply[Any] = Reply()

        def answered(answer: Reply[msgspec.Raw]) -> None:
            self._session.post(lambda: _pass_on(answer, reply))

        reply.seq = self._connection.request(command, arguments, answered).seq
        return reply

    def abandon(self) -> None:
        """Ends it, and reports nothing of it any more."""
        self.is_abandoned = True
        self.kill()

    def detach(self) -> None:
        """Leaves it running on its own."""
        self.is_abandoned = True
        if self._connection is not None:
            self._connection.close()

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

    def _ended(self, exit: Exit | None) -> None:
        """`exit`: None where nobody can know."""
        if not self.is_abandoned:
            self.is_abandoned = True
            self._session.engine_ended(self, exit)


def _pass_on(answer: Reply[Any], to: Reply[Any]) -> None:
    try:
        to.settle(answer.result())
    except ConnectionClosed:
        to.fail(ProcessEnded("the model's process ended before it answered"))
    except RequestError as error:
        to.fail(error)
