"""One side of a conversation: what it sends, what it makes of anything that comes, and its end."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dap_server.protocol.errors import Cancelled, NotStopped, RemoteError, RequestError
from dap_server.protocol.events import OutputEventBody
from dap_server.protocol.messages import Event, Message, Request
from dap_server.wire.connection import Connection, ConnectionClosed
from dap_server.wire.framing import MessageReader
from dap_server.wire.loopback import listen, streams
from tests.schema import validate

SECONDS = 10.0


class Peer:
    """A connection under test, and the socket of whoever it talks to."""

    def __init__(self) -> None:
        with listen() as listener:
            self.socket = socket.create_connection(listener.getsockname(), SECONDS)
            theirs, _ = listener.accept()
        self.file = self.socket.makefile("rb")
        self._reader = MessageReader(self.file)
        self.received: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.closed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[tuple[str, bytes]] = []
        self.connection = Connection(
            streams(theirs), self._receive, self.closed.put, observer=lambda *it: self.seen.append(it)
        )
        self.connection.start()

    def send(self, message: Any) -> None:
        self.send_bytes(json.dumps(message).encode())

    def send_bytes(self, body: bytes) -> None:
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def read(self) -> Any:
        """The next message that the connection sent, held against the schema."""
        body = self._reader.read()
        assert body is not None, "the connection closed"
        message = json.loads(body)
        validate(message, strict=True)
        return message

    def next_received(self) -> Message:
        return self.received.get(timeout=SECONDS)

    def _receive(self, message: Message) -> None:
        self.received.put(message)
        if isinstance(message, Event) and message.event == "llm/break":
            raise ZeroDivisionError("in the receiver")


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.connection.close()
    peer.connection.thread.join(SECONDS)
    assert not peer.connection.thread.is_alive()
    peer.file.close()
    peer.socket.close()


def test_requests_and_events_are_received_in_order(peer: Peer) -> None:
    peer.send({"seq": 1, "type": "request", "command": "threads"})
    peer.send({"seq": 2, "type": "event", "event": "initialized"})
    peer.send({"seq": 3, "type": "request", "command": "next", "arguments": {"threadId": 1}})
    first, second, third = (peer.next_received() for _ in range(3))
    assert isinstance(first, Request)
    assert isinstance(second, Event)
    assert isinstance(third, Request)
    assert (first.command, second.event, bytes(third.arguments)) == ("threads", "initialized", b'{"threadId": 1}')


def test_messages_are_numbered_from_one(peer: Peer) -> None:
    peer.connection.event("initialized")
    peer.connection.request("threads")
    peer.connection.respond(Request(seq=9, command="next"))
    assert [peer.read()["seq"] for _ in range(3)] == [1, 2, 3]


def test_an_answer_settles_the_request_that_it_names(peer: Peer) -> None:
    first, second = peer.connection.request("threads"), peer.connection.request("threads")
    assert [peer.read()["seq"], peer.read()["seq"]] == [first.seq, second.seq]
    answer = {"type": "response", "command": "threads", "success": True}
    peer.send({**answer, "seq": 1, "request_seq": second.seq, "body": {"threads": []}})
    peer.send({**answer, "seq": 2, "request_seq": first.seq})
    assert bytes(second.result(SECONDS)) == b'{"threads": []}'
    assert bytes(first.result(SECONDS)) == b""


def test_an_answer_is_told_before_what_comes_after_it(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def answer_at_once(_direction: str, body: bytes) -> None:
        message = json.loads(body)
        if message["type"] == "request":  # is being sent: whoever asks cannot have got the reply yet
            answer = {"type": "response", "seq": 1, "request_seq": message["seq"], "command": "next", "success": True}
            peer.send(answer)
            peer.send({"type": "event", "seq": 2, "event": "stopped", "body": {"reason": "step"}})
            peer.next_received()
            told.append("stopped")

    monkeypatch.setattr(peer.connection, "_observer", answer_at_once)
    peer.connection.request("next", {"threadId": 1}, answered=lambda _: told.append("answer"))
    assert told == ["answer", "stopped"]


@pytest.mark.parametrize(
    ("message", "kind"), [("cancelled", Cancelled), ("notStopped", NotStopped), ("broken", RemoteError)]
)
def test_an_error_answer_fails_the_request(peer: Peer, message: str, kind: type[RequestError]) -> None:
    reply = peer.connection.request("next", {"threadId": 1})
    error = {"id": 17, "format": "the {reason} with {braces}", "showUser": True}
    answer = {"seq": 1, "type": "response", "request_seq": reply.seq, "success": False, "command": "next"}
    peer.send({**answer, "message": message, "body": {"error": error}})
    with pytest.raises(kind, match=r"the \{reason\} with \{braces\}") as caught:
        reply.result(SECONDS)
    assert caught.value.message == message


@pytest.mark.parametrize("rest", [{}, {"message": "no"}, {"message": "no", "body": {"error": 5}}, {"body": None}])
def test_an_error_answer_without_its_parts_fails_the_request_too(peer: Peer, rest: dict[str, Any]) -> None:
    reply = peer.connection.request("threads")
    peer.send({"seq": 1, "type": "response", "request_seq": reply.seq, "success": False, "command": "threads", **rest})
    with pytest.raises(RemoteError, match=rest.get("message", "unknown error")):
        reply.result(SECONDS)


def test_answers_to_nothing_and_second_answers_are_ignored(peer: Peer) -> None:
    reply = peer.connection.request("threads")
    answer = {"type": "response", "success": True, "command": "threads"}
    peer.send({**answer, "seq": 1, "request_seq": 77})
    peer.send({**answer, "seq": 2, "request_seq": reply.seq, "body": {"threads": []}})
    peer.send({**answer, "seq": 3, "request_seq": reply.seq, "body": {"threads": [{"id": 1, "name": "late"}]}})
    peer.send({"seq": 4, "type": "event", "event": "initialized"})
    assert isinstance(peer.next_received(), Event)
    assert bytes(reply.result(0)) == b'{"threads": []}'


def test_an_error_response_carries_its_text_as_it_is(peer: Peer) -> None:
    peer.connection.respond_error(Request(seq=4, command="launch"), RequestError("give {role, content}"))
    response = peer.read()
    assert response["request_seq"] == 4
    assert response["message"] == "give {role, content}"
    assert response["body"]["error"] == {"id": 1, "format": "give {role, content}", "showUser": True}


def test_an_error_of_a_message_of_our_own_opens_no_dialog(peer: Peer) -> None:
    peer.connection.respond_error(Request(seq=4, command="llm/lens"), RequestError("no such layer"))
    assert peer.read()["body"]["error"] == {"id": 1, "format": "no such layer", "showUser": False}


def test_text_without_utf_8_is_sent_all_the_same(peer: Peer) -> None:
    peer.connection.respond_error(Request(seq=4, command="launch"), RequestError("half \ud800 a pair"))
    assert peer.read()["message"] == "half ? a pair"
    peer.connection.event("output", OutputEventBody(output="\udcff"))
    assert peer.read()["body"]["output"] == "?"
    peer.connection.request("launch", {"\udcff": ["\ud800"]})
    assert peer.read()["arguments"] == {"?": ["?"]}


REQUEST: dict[str, Any] = {"seq": 5, "type": "request", "command": "next"}
NO_ENVELOPE: dict[str, list[Any]] = {
    "seq": [-1, 2**31, 2**70, 1.5, "1", None, True, [], {}],
    "type": ["question", "", None, 1, [], "response", "event"],
    "command": [None, 1, [], {}, True],
}
"""What the fields of an envelope may not be."""


@pytest.mark.parametrize(
    "extra", [{"arguments": [1]}, {"arguments": 5}, {"other": {"deep": [1]}}, {"seq": 2**31 - 1}, {"seq": 0}]
)
def test_an_envelope_may_carry_anything_that_is_not_its_own(peer: Peer, extra: dict[str, Any]) -> None:
    peer.send({**REQUEST, **extra})
    assert isinstance(peer.next_received(), Request)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xff\xfe\x00",
        b'{"seq": 1, "type": "request", "command": "\xff"}',
        b'{"seq": 1, "type": "request", "command": "next"',
        b'{"seq": 1, "type": "request", "command": "next"} {}',
        b'\xef\xbb\xbf{"seq": 1, "type": "request", "command": "next"}',
        b"[" * 100_000,
        b'{"seq": 1, "type": "request", "command": "next", "arguments": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"5",
        b'"text"',
        b"null",
        b"[]",
        b"{}",
        b'{"jsonrpc": "2.0", "id": 1, "method": "initialize"}',
        *(json.dumps({**REQUEST, name: it}).encode() for name, values in NO_ENVELOPE.items() for it in values),
    ],
)
def test_what_is_no_message_is_reported_and_costs_nothing_else(peer: Peer, body: bytes) -> None:
    peer.send_bytes(body)
    report = peer.read()
    assert report["event"] == "output"
    assert "not a DAP message" in report["body"]["output"]
    peer.send(REQUEST)
    assert isinstance(peer.next_received(), Request)
    assert peer.received.empty()


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        (rb"\ud83d", "?"),
        (rb"a\uDE00b", "a?b"),
        (rb"\ud83d\ud83d\ude00", "?\N{GRINNING FACE}"),
        (rb"\\ud83d \ud83d\ude00 \"\ud83d\"", '\\ud83d \N{GRINNING FACE} "?"'),
    ],
)
def test_half_of_an_emoji_is_replaced_and_its_request_answered(peer: Peer, sent: bytes, heard: str) -> None:
    peer.send_bytes(b'{"seq": 1, "type": "request", "command": "evaluate", "arguments": {"expression": "%b"}}' % sent)
    request = peer.next_received()
    assert isinstance(request, Request)
    assert json.loads(bytes(request.arguments)) == {"expression": heard}


def test_an_exception_in_the_receiver_costs_one_message(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    peer.send({"seq": 1, "type": "event", "event": "llm/break"})
    peer.send({"seq": 2, "type": "event", "event": "initialized"})
    assert isinstance(peer.next_received(), Event)
    assert isinstance(peer.next_received(), Event)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_requests_that_wait_fail_when_the_peer_closes(peer: Peer) -> None:
    replies = [peer.connection.request("threads") for _ in range(3)]
    peer.socket.shutdown(socket.SHUT_RDWR)
    for reply in replies:
        with pytest.raises(ConnectionClosed):
            reply.result(SECONDS)
    assert peer.closed.get(timeout=SECONDS) is None, "an orderly end has no reason"


def test_requests_after_the_end_fail_at_once(peer: Peer) -> None:
    peer.connection.close()
    peer.closed.get(timeout=SECONDS)
    with pytest.raises(ConnectionClosed, match="'threads' was not sent"):
        peer.connection.request("threads").result(0)
    peer.connection.event("initialized")  # goes nowhere, and says nothing


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"Content-Length: 10\r\n\r\n{}", "8 bytes before the end"), (b"nonsense\r\n\r\n", "without Content-Length")],
)
def test_a_broken_stream_ends_with_its_reason(peer: Peer, data: bytes, reason: str) -> None:
    reply = peer.connection.request("threads")
    peer.socket.sendall(data)
    peer.socket.shutdown(socket.SHUT_WR)
    assert reason in (peer.closed.get(timeout=SECONDS) or "")
    with pytest.raises(ConnectionClosed):
        reply.result(0)
    assert peer.closed.empty(), "the end is told once"


def test_the_observer_sees_both_directions(peer: Peer) -> None:
    peer.connection.event("output", OutputEventBody(output="…"))
    peer.send(REQUEST)
    peer.next_received()
    directions = [(direction, json.loads(body)["type"]) for direction, body in peer.seen]
    assert directions == [("sent", "event"), ("received", "request")]


def test_many_threads_may_send(peer: Peer) -> None:
    def send() -> None:
        for _ in range(50):
            peer.connection.event("output", OutputEventBody(output="x" * 500))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    numbers = [peer.read()["seq"] for _ in range(200)]
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(numbers) == list(range(1, 201))


def test_raw_bodies_are_passed_on_as_they_are(peer: Peer) -> None:
    peer.connection.respond(Request(seq=1, command="threads"), msgspec.Raw(b'{"threads": []}'))
    assert peer.read()["body"] == {"threads": []}
