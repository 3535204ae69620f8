"""Editors that come to a program which runs, and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.attaching import PROGRAMS, Server, attach, begin_attach, finish_attach, running
from tests.e2e.conftest import Spawn

CAPITALS = ["The capital of France is", "The capital of Italy is", "The capital of Japan is"]
MANY, FEW = 100, 6


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(str(PROGRAMS / "server.py"), "--port", "0", "--debug-port", "0") as program:
        server = Server(program)
        yield server
        server.close()


def test_a_server_gives_the_same_answers_whoever_comes_and_goes(server: Server, spawn: Spawn) -> None:
    long, short = ([server.generate(prompt, count) for prompt in CAPITALS] for count in (MANY, FEW))

    editor = spawn()
    editor.response(begin_attach(editor, {"port": server.debug_port}, "model.layers.2"))
    in_flight = [server.sends(prompt, MANY) for prompt in CAPITALS]
    server.wait_for_busy(3)
    finish_attach(editor)
    assert not all(answer.done() for answer in in_flight)
    assert "in a call of a model already, which goes on as it is: AnyIO worker thread" in editor.output("console")
    assert [answer.result() for answer in in_flight] == long

    asked = [server.sends(prompt, FEW) for prompt in CAPITALS]
    stop = editor.stop()
    assert stop["text"] == "before model.layers.2 in step 0"
    server.wait_for_busy(3)
    assert not any(answer.done() for answer in asked)
    editor.ask("continue", threadId=1)
    assert editor.stop()["text"] == "before model.layers.2 in step 1"
    assert editor.move("stepBack")["text"] == "before model.layers.1 in step 1"
    assert editor.move("reverseContinue")["text"] == "before model.layers.2 in step 0"
    assert server.busy() == 3

    editor.ask("disconnect")
    assert [answer.result() for answer in asked] == short
    assert [server.generate(prompt, FEW) for prompt in CAPITALS] == short

    second = spawn()
    attach(second, server.debug_port, "sample")
    again = server.sends(CAPITALS[0], FEW)
    assert second.stop()["text"] == "before sample in step 0"
    second.break_at()
    second.ask("continue", threadId=1)
    assert again.result() == short[0]
    second.ask("disconnect")
