"""Sockets on this machine: only who shows the token gets in, and nobody else delays them."""

from __future__ import annotations

import contextlib
import io
import itertools
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from dap_server.wire import loopback
from dap_server.wire.framing import MessageReader, MessageWriter
from dap_server.wire.loopback import (
    LOOPBACK,
    TOKEN_HEX_DIGITS,
    SocketStreams,
    accept,
    connect,
    listen,
    new_token,
    same_token,
)
from dap_server.wire.streams import Streams

SECONDS = 10.0


class Door:
    """A listener that waits for its one guest on a thread."""

    def __init__(self) -> None:
        self.token = new_token()
        self.listener = listen()
        self.port: int = self.listener.getsockname()[1]
        self.outcome: queue.SimpleQueue[SocketStreams | OSError] = queue.SimpleQueue()
        self.guests: list[SocketStreams] = []
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def stranger(self, shows: bytes = b"") -> socket.socket:
        connection = socket.create_connection((LOOPBACK, self.port), SECONDS)
        connection.sendall(shows)
        return connection

    def entered(self) -> SocketStreams:
        outcome = self.outcome.get(timeout=SECONDS)
        assert isinstance(outcome, SocketStreams), outcome
        self.guests.append(outcome)
        return outcome

    def close(self) -> None:
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        for guest in self.guests:
            guest.close()

    def _accept(self) -> None:
        try:
            self.outcome.put(accept(self.listener, self.token))
        except OSError as error:
            self.outcome.put(error)


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def speak(ours: Streams, theirs: Streams) -> None:
    """Both directions work."""
    for writer, reader in ((ours.writer, theirs.reader), (theirs.writer, ours.reader)):
        writer.write(b"hello\n")
        writer.flush()
        assert reader.readline() == b"hello\n"


def test_who_shows_the_token_gets_in(door: Door) -> None:
    ours = connect(door.port, door.token)
    theirs = door.entered()
    speak(ours, theirs)
    assert theirs.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert theirs.socket.gettimeout() is None
    ours.close()
    assert theirs.reader.read() == b""
    theirs.close()


@pytest.mark.parametrize(
    "shown", [b"0" * TOKEN_HEX_DIGITS, b"\xff" * TOKEN_HEX_DIGITS, b"POST / HTTP/1.1\r\n".ljust(TOKEN_HEX_DIGITS)]
)
def test_a_wrong_token_is_dropped_without_an_answer(door: Door, shown: bytes) -> None:
    with door.stranger(shown) as stranger:
        assert stranger.recv(1) == b""
    ours = connect(door.port, door.token)
    speak(ours, door.entered())
    ours.close()


def test_half_a_token_and_an_end_is_dropped(door: Door) -> None:
    with door.stranger(door.token[:10].encode()) as stranger:
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(1) == b""


def test_a_token_may_come_in_pieces(door: Door) -> None:
    with door.stranger() as guest:
        for letter in door.token:
            guest.sendall(letter.encode())
        guest.sendall(b"hello\n")
        assert door.entered().reader.readline() == b"hello\n"


def test_a_slow_peer_delays_nobody(door: Door) -> None:
    silent, slow = door.stranger(), door.stranger(b"0")
    ours = connect(door.port, door.token)
    speak(ours, door.entered())
    assert silent.recv(1) == slow.recv(1) == b"", "they are dropped once the guest is in"
    for connection in (silent, slow):
        connection.close()
    ours.close()


def test_who_shows_nothing_in_time_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "HANDSHAKE_SECONDS", 0.05)
    door = Door()
    with door.stranger(b"0") as slow:
        assert slow.recv(1) == b""
    door.close()


def test_a_closed_listener_ends_the_waiting(door: Door) -> None:
    door.listener.shutdown(socket.SHUT_RDWR)
    door.listener.close()
    assert isinstance(door.outcome.get(timeout=SECONDS), OSError)


def test_a_reader_is_woken_when_its_streams_are_closed(door: Door) -> None:
    ours, theirs = connect(door.port, door.token), door.entered()
    read: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: read.put(theirs.reader.read(1)))
    thread.start()
    theirs.close()
    assert read.get(timeout=SECONDS) == b""
    thread.join(SECONDS)
    ours.close()


def test_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {TOKEN_HEX_DIGITS}


@pytest.mark.parametrize(
    ("given", "expected", "same"), [("a", "a", True), ("a", "b", False), ("", "a", False), ("ä", "ä", True)]
)
def test_tokens_are_compared_whole(given: str, expected: str, same: bool) -> None:
    assert same_token(given, expected) is same


INTERRUPTS_AT_EACH = """
import os, signal, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as connection:
    while piece := connection.recv(65536):
        os.kill(os.getppid(), signal.SIGINT)
        sys.stdout.buffer.write(piece)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process can press Ctrl+C in another one there")
def test_a_message_that_ctrl_c_comes_in_between_is_sent_once() -> None:
    """The thread that tells of a stop is the program's main thread: who sees the stop may press it at once.

    Another thread is busy, so that the signal is there before the main thread comes back from sending.
    """
    is_over = threading.Event()
    interrupts: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", INTERRUPTS_AT_EACH, str(theirs.fileno())]
    person = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()])
    theirs.close()
    streams = SocketStreams(ours)
    writer = MessageWriter(streams.writer)
    bodies = [b"%d" % i for i in range(50)]
    busy = threading.Thread(target=lambda: all(not is_over.is_set() for _ in itertools.count()))
    busy.start()
    try:
        for i, body in enumerate(bodies):
            with contextlib.suppress(KeyboardInterrupt):
                writer.write(body)
                deadline = time.monotonic() + SECONDS
                while len(interrupts) == i and time.monotonic() < deadline:
                    pass  # a signal that another thread gets ends no wait of this one
        streams.close()
        received, _ = person.communicate(timeout=SECONDS)
    finally:
        is_over.set()
        busy.join()
        signal.signal(signal.SIGINT, before)
        person.kill()
    reader = MessageReader(io.BytesIO(received))
    assert [reader.read() for _ in bodies] == bodies
