"""An adapter that listens: sessions one after another and beside each other, each with the token that it printed."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dap_server.wire.tokens import stored_token, token_file
from tests.adapter.peer import GRACE, SECONDS, Conversation, Json, error_of, framed

Fake = Callable[[str], Json]


class Server:
    """A listening adapter."""

    def __init__(self, runtime: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dap_server", "adapter", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
            text=True,
        )
        assert self.process.stdout
        self.line = self.process.stdout.readline()
        found = re.fullmatch(
            r"llm-dap adapter listens on 127\.0\.0\.1:(\d+) with the token ([0-9a-f]{64})\n", self.line
        )
        if not found:
            self.process.kill()
            raise AssertionError((self.line, *self.process.communicate()))
        self.port, self.token = int(found[1]), found[2]
        self.token_file = runtime / "llm-dap" / f"{self.port}.token"
        self._connections: list[tuple[socket.socket, Conversation]] = []

    def connect(self) -> Conversation:
        connection = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        connection.settimeout(None)
        conversation = Conversation(connection.makefile("rb"), connection.makefile("wb"))
        self._connections.append((connection, conversation))
        return conversation

    def hang_up(self) -> None:
        """Closes all connections, as an editor does that is quit."""
        for connection, conversation in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the adapter was faster
            conversation.closed()
            assert all(engine.has_ended() for engine in conversation.engines)
            conversation.release()
            connection.close()
            conversation.check()
        self._connections.clear()

    def end(self, by: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        """Ends it. Gives what it printed."""
        try:
            self.hang_up()
            self.process.send_signal(by)
            return self.process.communicate(timeout=GRACE)
        finally:
            self.process.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    output, errors = server.end()
    assert output == "", "the token is printed once"
    assert "Traceback" not in errors, errors
    assert server.process.returncode == 0
    assert not server.token_file.exists()


def test_the_token_lies_where_only_its_user_reads_it(server: Server) -> None:
    assert server.token_file.read_text() == server.token
    assert stat.S_IMODE(server.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.token_file.parent.stat().st_mode) == 0o700


def test_sessions_come_one_after_another(server: Server, fake: Fake) -> None:
    for _ in range(2):
        client = server.connect()
        client.start({**fake(""), "token": server.token})
        client.stop()
        client.get("disconnect")
        client.closed()
        assert client.engine.has_ended()


def test_a_client_that_never_launches_keeps_nobody_waiting(server: Server, fake: Fake) -> None:
    silent = server.connect()
    hesitant = server.connect()
    hesitant.initialize()
    clients = [server.connect(), server.connect()]
    for client in clients:
        client.start({**fake(""), "token": server.token})
        client.stop()
    assert clients[0].engine.pid != clients[1].engine.pid
    clients[0].get("disconnect")
    clients[0].closed()
    assert clients[0].engine.has_ended()
    assert not clients[1].engine.has_ended(0)
    silent.initialize()


def test_a_lost_connection_ends_its_model_and_not_the_server(server: Server, fake: Fake) -> None:
    client = server.connect()
    client.start({**fake(""), "token": server.token})
    client.stop()
    server.hang_up()
    server.connect().initialize()


@pytest.mark.parametrize("token", [None, "", "0" * 64, "ä", 5], ids=repr)
def test_a_launch_without_the_token_is_refused(server: Server, fake: Fake, token: object) -> None:
    client = server.connect()
    client.initialize()
    configuration = {**fake(""), **({} if token is None else {"token": token})}
    text = error_of(client.answer(client.send_valid("launch", configuration)))
    assert "token" in text
    client.event("terminated")
    assert not client.engines
    assert "'launch' or 'attach' comes first" in client.error("evaluate", {"expression": "1"})


def test_nothing_of_a_wrong_launch_is_told_without_the_token(server: Server) -> None:
    client = server.connect()
    client.initialize()
    assert "the 'token' that the adapter printed" in client.error("launch", {"promt": "x"})


def test_a_client_that_reads_no_more_does_not_keep_the_server(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as deaf:
        deaf.sendall(framed(b'{"seq": 1, "type": "request", "command": "nonsense"}') * 40_000)
        deaf.shutdown(socket.SHUT_WR)
        server.connect().initialize()


def test_a_port_in_use_is_an_error_and_no_traceback(server: Server) -> None:
    command = [sys.executable, "-m", "dap_server", "adapter", "--port", str(server.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in second.stderr
    assert "Traceback" not in second.stderr
    assert server.token_file.read_text() == server.token


def test_a_server_that_is_terminated_takes_its_token_along(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.end(signal.SIGTERM)
    assert not server.token_file.exists()


def test_a_signal_ends_the_present_sessions_too(server: Server, fake: Fake) -> None:
    clients = [server.connect() for _ in range(2)]
    for client in clients:
        client.start({**fake(""), "token": server.token})
        client.stop()
    server.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.closed()
        assert client.engine.has_ended()
    assert server.process.wait(GRACE) == 0


def test_a_client_that_reads_no_more_does_not_keep_the_end(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as deaf:
        deaf.sendall(framed(b'{"seq": 1, "type": "request", "command": "nonsense"}') * 40_000)
        _, errors = server.end(signal.SIGTERM)
    assert server.process.returncode == 0
    assert "Traceback" not in errors


def test_an_old_token_file_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = Path(token_file(4711))
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)
    with stored_token(4711) as token:
        assert path.read_text() == token
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_folder_that_is_a_link_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "llm-dap").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="XDG_RUNTIME_DIR"), stored_token(4711):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())
