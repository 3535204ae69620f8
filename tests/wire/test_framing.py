"""Bytes are cut into messages where the header says, or the stream is given up."""

from __future__ import annotations

import io
import socket
import threading
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dap_server.wire.framing import MAX_BODY_BYTES, MAX_HEADER_BYTES, FramingError, MessageReader, MessageWriter


def read_all(data: bytes) -> list[bytes]:
    reader = MessageReader(io.BytesIO(data))
    bodies = []
    while (body := reader.read()) is not None:
        bodies.append(body)
    return bodies


def framed(*bodies: bytes) -> bytes:
    return b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies)


class CountingStream:
    """Takes every write and remembers it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.flushes = 0

    def write(self, data: bytes) -> int:
        self.writes.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        self.flushes += 1


def test_an_empty_stream_ends_in_order() -> None:
    assert read_all(b"") == []


def test_messages_come_out_as_they_went_in() -> None:
    assert read_all(framed(b"{}", b"", b'{"a": 1}')) == [b"{}", b"", b'{"a": 1}']


def test_the_length_counts_bytes_and_not_characters() -> None:
    text = '{"text": "naïve – 東京 🗼"}'
    stream = CountingStream()
    MessageWriter(cast(BinaryIO, stream)).write(text.encode())
    assert f"Content-Length: {len(text.encode())}\r\n".encode() in stream.writes[0]
    assert read_all(stream.writes[0])[0].decode() == text


def test_a_message_is_one_write() -> None:
    stream = CountingStream()
    writer = MessageWriter(cast(BinaryIO, stream))
    for body in (b"{}", b"x" * 100_000):
        writer.write(body)
    assert stream.writes == [framed(b"{}"), framed(b"x" * 100_000)]
    assert stream.flushes == 2


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 2\n\n",
        b"content-length:2\r\n\r\n",
        b"Content-Length : 2\r\n\r\n",
        b"Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n",
        b"Content-Length: 2\r\nX: y: z\r\n\r\n",
        b"Content-Length: 0000000002\r\n\r\n",
    ],
)
def test_headers_that_say_a_length_are_understood(header: bytes) -> None:
    assert read_all(header + b"{}") == [b"{}"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\r\n{}", "without Content-Length"),
        (b"Content-Type: x\r\n\r\n{}", "without Content-Length"),
        (b"{}\n\n", "without Content-Length"),
        (b"Content-Length: two\r\n\r\n{}", "not a number"),
        (b"Content-Length:\r\n\r\n{}", "not a number"),
        (b"Content-Length: -2\r\n\r\n{}", "not a number"),
        (b"Content-Length: +2\r\n\r\n{}", "not a number"),
        (b"Content-Length: 2.0\r\n\r\n{}", "not a number"),
        (b"Content-Length: 1_0\r\n\r\n{}", "not a number"),
        (b"Content-Length: \xd9\xa2\r\n\r\n{}", "not a number"),
        (b"Content-Length: 99999999999999999999999999\r\n\r\n", "the limit is"),
        (b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), "the limit is"),
        (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", "two lengths"),
        (b"Content-Length: 2", "inside a header"),
        (b"Content-Length: 2\r\n", "inside a header"),
        (b"Content-Length: 5\r\n\r\n{}", "3 bytes before the end"),
        (b"x" * (MAX_HEADER_BYTES + 1), "a header of more than"),
        (b"X: y\r\n" * MAX_HEADER_BYTES, "a header of more than"),
        (b"\x00\xff" * 100, "inside a header"),
    ],
)
def test_what_says_no_length_ends_the_stream_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(FramingError, match=reason):
        read_all(data)


def test_a_wrong_length_ends_the_stream_at_the_next_header() -> None:
    reader = MessageReader(io.BytesIO(b'Content-Length: 5\r\n\r\n{"a": 1}' + framed(b"{}")))
    assert reader.read() == b'{"a":'
    with pytest.raises(FramingError):
        reader.read()


@given(st.binary(max_size=200))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_any_bytes_are_messages_or_a_framing_error(data: bytes) -> None:
    try:
        read_all(data)
    except FramingError:
        pass


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(min_value=0, max_value=400))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_a_cut_stream_gives_the_whole_messages_before_the_cut(bodies: list[bytes], cut: int) -> None:
    reader = MessageReader(io.BytesIO(framed(*bodies)[:cut]))
    received = []
    try:
        while (body := reader.read()) is not None:
            received.append(body)
    except FramingError:
        pass
    assert received == bodies[: len(received)]


def write_often(writer: MessageWriter, body: bytes) -> None:
    for _ in range(20):
        writer.write(body)


def test_messages_of_many_threads_do_not_mix() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("wb") as stream, theirs.makefile("rb") as read_from:
        writer, reader = MessageWriter(stream), MessageReader(read_from)
        bodies = [bytes([letter]) * 3000 for letter in range(8)]
        threads = [threading.Thread(target=write_often, args=(writer, body)) for body in bodies]
        for thread in threads:
            thread.start()
        received = [reader.read() for _ in range(160)]
        for thread in threads:
            thread.join(10)
    assert sorted(filter(None, received)) == sorted(bodies * 20)
