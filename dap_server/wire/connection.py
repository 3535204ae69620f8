"""One peer: a thread that reads its messages, and the calls that write ours.

Threads: the reader thread belongs to the connection and calls `received` and, once, `closed`. Sending is allowed from
any thread. Answers to our own requests settle their `Reply` on the reader thread.
"""

from __future__ import annotations

import itertools
import re
import threading
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from dap_server.protocol.errors import Cancelled, NotStopped, RemoteError, RequestError
from dap_server.protocol.messages import Event, Message, Request, Response, UInt31
from dap_server.protocol.requests import ErrorResponseBody
from dap_server.protocol.types import ErrorMessage
from dap_server.wire.framing import FramingError, MessageReader, MessageWriter
from dap_server.wire.reply import Reply
from dap_server.wire.streams import Streams

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_EMPTY = msgspec.Raw(b"")
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
"""Escapes in JSON; the group is there for half of a surrogate pair without its other half."""


class ConnectionClosed(RequestError):
    """The peer is gone; what was asked of it gets no answer."""

    show_user = False


class Connection:
    """Speaks DAP with one peer over two byte streams."""

    def __init__(
        self,
        streams: Streams,
        received: Callable[[Message], None],
        closed: Callable[[str | None], None],
        name: str = "dap",
        observer: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Begins to read with `start`.

        Args:
            received: gets every request and event, on the reader thread, in order.
            closed: called once after the last message, with the reason when it was not an orderly end.
            name: of the reader thread.
            observer: sees every message as it is on the wire, after "sent" or "received", on the thread at hand.
        """
        self._streams = streams
        self._reader = MessageReader(streams.reader)
        self._writer = MessageWriter(streams.writer)
        self._received = received
        self._closed = closed
        self._observer = observer
        self._seq = itertools.count(1)
        self._pending: dict[int, Reply[msgspec.Raw]] = {}
        self._pending_lock = threading.Lock()
        self._is_closed = False
        self._is_closing = False
        """Whether it is us who end it."""
        self._is_forsaken = False
        self.thread = threading.Thread(target=self._read, name=f"{name} reader", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def request(
        self,
        command: str,
        arguments: object | None = None,
        answered: Callable[[Reply[msgspec.Raw]], None] | None = None,
    ) -> Reply[msgspec.Raw]:
        """Asks the peer. The reply settles with the raw body, or fails with the peer's error.

        Args:
            answered: called with the reply before any later message of the peer is received. What is said with `then`
                may be too late for that: the answer can come before this returns.
        """
        reply: Reply[msgspec.Raw] = Reply()
        if answered is not None:
            reply.then(answered)
        reply.seq = seq = next(self._seq)
        with self._pending_lock:
            gone = self._is_closed
            if not gone:
                self._pending[seq] = reply
        if gone:
            reply.fail(ConnectionClosed(f"'{command}' was not sent: the connection is closed"))
            return reply
        self._send(Request(seq=seq, command=command, arguments=_raw(arguments)))
        return reply

    def event(self, event: str, body: object | None = None) -> None:
        self._send(Event(seq=next(self._seq), event=event, body=_raw(body)))

    def respond(self, request: Request, body: object | None = None) -> None:
        self._send(
            Response(
                seq=next(self._seq), request_seq=request.seq, success=True, command=request.command, body=_raw(body)
            )
        )

    def respond_error(self, request: Request, error: RequestError) -> None:
        # Braces stay as they are: clients replace only {names} that `variables` has, and ours has none.
        text = _encodable(str(error))
        is_own = request.command.startswith("llm/")  # who asks for it says what went wrong, where it was asked
        body = ErrorResponseBody(error=ErrorMessage(id=error.id, format=text, show_user=error.show_user and not is_own))
        self._send(
            Response(
                seq=next(self._seq),
                request_seq=request.seq,
                success=False,
                command=request.command,
                message=_encodable(error.message),
                body=_raw(body),
            )
        )

    def close(self) -> None:
        self._is_closing = True
        self._streams.close()

    def forsake(self) -> None:
        """In a child that was forked: says nothing any more, and the peer notices nothing of it."""
        self._is_forsaken = True
        self._streams.forsake()

    def _send(self, message: Message) -> None:
        if self._is_forsaken:
            return
        body = _encoder.encode(message)
        if self._observer is not None:
            self._observer("sent", body)
        try:
            self._writer.write(body)
        except (OSError, ValueError):
            pass  # the peer is gone: the reader thread reports it

    def _read(self) -> None:
        reason: str | None = None
        try:
            while (body := self._reader.read()) is not None:
                self._dispatch_safely(body)
        except FramingError as error:
            reason = str(error)
        except (OSError, ValueError) as error:
            reason = None if self._is_closing else f"the connection broke: {error}"
        with self._pending_lock:
            self._is_closed = True
            pending = list(self._pending.values())
            self._pending.clear()
        for reply in pending:
            reply.fail(ConnectionClosed("the peer closed the connection before it answered"))
        self._closed(reason)

    def _dispatch_safely(self, body: bytes) -> None:
        try:
            self._dispatch(body)
        except Exception:  # of ours: costs one message, not the connection
            traceback.print_exc()

    def _dispatch(self, body: bytes) -> None:
        if self._observer is not None:
            self._observer("received", body)
        try:
            message = _decode(body)
        except _UNDECODABLE as error:
            self._reject(body, str(error))
            return
        if isinstance(message, Response):
            self._settle(message)
        else:
            self._received(message)

    def _reject(self, body: bytes, why: str) -> None:
        """A request that can still be recognised is answered; anything else is only reported."""
        try:
            known = msgspec.json.decode(body, type=_Recognisable)
        except _UNDECODABLE:
            self.event("output", {"category": "stderr", "output": f"llm-dap: not a DAP message: {why}\n"})
            return
        request = Request(seq=known.seq, command=known.command, arguments=_EMPTY)
        self.respond_error(request, RequestError(f"not a DAP request: {why}"))

    def _settle(self, response: Response) -> None:
        with self._pending_lock:
            reply = self._pending.pop(response.request_seq, None)
        if reply is None:
            return  # answers to nothing are ignored, as every client and adapter does
        if response.success:
            reply.settle(response.body)
        else:
            reply.fail(remote_error(response))


def _decode(body: bytes) -> Message:
    """With `?` for halves of surrogate pairs, which clients in JavaScript may send and no UTF-8 has."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        whole = _ESCAPE.sub(lambda escape: b"?" if escape[1] else escape[0], body)
        if whole == body:
            raise
        return _decoder.decode(whole)


class _Recognisable(msgspec.Struct, tag_field="type", tag="request"):
    seq: UInt31
    command: str


def remote_error(response: Response) -> RequestError:
    """The exception that an error response stands for."""
    try:
        error = msgspec.json.decode(response.body, type=ErrorResponseBody).error if response.body else None
    except _UNDECODABLE:
        error = None
    message = response.message or "unknown error"
    text = error.format if error else message
    if message == "cancelled":
        return Cancelled(text)
    if message == "notStopped":
        return NotStopped(text)
    return RemoteError(message, text, error.id if error else 1, bool(error and error.show_user))


def _raw(value: Any) -> msgspec.Raw:
    if value is None:
        return _EMPTY
    if isinstance(value, msgspec.Raw):
        return value
    try:
        return msgspec.Raw(_encoder.encode(value))
    except UnicodeEncodeError:
        return msgspec.Raw(_encoder.encode(_encodable(msgspec.to_builtins(value))))


def _encodable(value: Any) -> Any:
    """The same with `?` for halves of surrogate pairs: they have no UTF-8, and texts of models and files hold some."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value
