"""What is left in a program of the editors that were attached to it, in whatever way they went."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dap_server.wire.tokens import key, token_file
from tests.e2e.attaching import Program, attach, begin_attach, finish_attach, running, wait_until_attached
from tests.e2e.conftest import Spawn
from tests.e2e.raw_client import TIMEOUT, RawClient, Refused

COUNT = 8


class Loop:
    """The program of `listening_loop.py`."""

    def __init__(self, program: Program) -> None:
        self.program, self.port = program, program.debug_port()

    def begin(self, command: str) -> int:
        mark = len(self.program.lines)
        self.program.write(command + "\n")
        return mark

    def ask(self, command: str, answer: str) -> str:
        return self.answer(answer, self.begin(command))

    def answer(self, answer: str, mark: int) -> str:
        return self.program.line(rf"^{answer} (.*)", mark)[1]

    def generate(self) -> str:
        return self.ask(f"generate {COUNT}", "answer")

    def left(self) -> str:
        return self.ask("left", "left")


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    with running(str(Path(__file__).with_name("listening_loop.py"))) as program:
        yield Loop(program)


@pytest.fixture(scope="module")
def plain(loop: Loop) -> str:
    return loop.generate()


def test_an_editor_that_leaves_at_a_stop_takes_everything_with_it(loop: Loop, plain: str, spawn: Spawn) -> None:
    before = loop.left()
    editor = spawn()
    attach(editor, loop.port, "model.layers.2")
    mark = loop.begin(f"generate {COUNT}")
    editor.stop()
    for change in ("zero(2)", "model.model.layers[0].mlp.up_proj.weight[0, 0] = 3.0"):
        editor.evaluate(change)
        editor.stop()
    editor.ask("disconnect")
    loop.answer("answer", mark)
    assert loop.generate() == plain
    assert what(loop.left()) == what(before)


def test_an_editor_that_is_killed_at_a_stop_lets_the_program_go_on(loop: Loop, plain: str, spawn: Spawn) -> None:
    editor = spawn()
    attach(editor, loop.port, "model.layers.2")
    mark = loop.begin(f"generate {COUNT}")
    editor.stop()
    kill(editor)
    assert loop.answer("answer", mark) == plain


def test_an_editor_that_goes_while_it_searches_the_past_leaves_no_search(loop: Loop, plain: str, spawn: Spawn) -> None:
    editor = spawn()
    attach(editor, loop.port, "after:sample")
    mark = loop.begin("generate 200")
    stop = editor.stop()
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "step", "condition": "step == 199"}])
    stop = editor.move("continue")
    assert "step 199" in stop["text"]
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "*.layers.3", "condition": "entropy_of_nothing > 2"}])
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "*.layers.3", "condition": "norm < 0"}])
    editor.send("reverseContinue", threadId=1)
    kill(editor)
    assert loop.answer("answer", mark)
    assert loop.generate() == plain


@pytest.mark.slow
def test_twenty_editors_leave_nothing(loop: Loop, plain: str) -> None:
    once(loop)
    before = loop.left()
    for _ in range(20):
        once(loop)
    assert loop.generate() == plain
    assert loop.left() == before


def once(loop: Loop) -> None:
    """An editor comes, sees a stop and goes; without an adapter of its own, which takes its time to start."""
    with socket.create_connection(("127.0.0.1", loop.port), TIMEOUT) as connection:
        connection.settimeout(None)
        connection.sendall(key(loop.program.token(), "engine").encode())
        engine = RawClient(connection.makefile("rb"), connection.makefile("wb"))
        engine.response(engine.send_unchecked("attach", {"arguments": {"connect": {"port": loop.port}}}))
        wanted = [{"id": 1, "name": "model.layers.2"}]
        engine.response(engine.send_unchecked("llm/placeBreakpoints", {"arguments": {"breakpoints": wanted}}))
        finish_attach(engine)
        mark = loop.begin(f"generate {COUNT}")
        engine.stop()
        engine.ask("disconnect")
        loop.answer("answer", mark)
        connection.shutdown(socket.SHUT_RDWR)
        engine.close()


def test_the_program_waits_for_an_editor_and_stops_where_it_says(loop: Loop, spawn: Spawn) -> None:
    assert loop.ask("breakpoint", "passed") == "", "nobody is there"
    mark = loop.begin("wait")
    editor = spawn()
    editor.response(begin_attach(editor, {"port": loop.port}))
    assert "waited" not in "".join(loop.program.lines[mark:])
    finish_attach(editor)
    assert loop.answer("waited", mark) == "True"

    mark = loop.begin("breakpoint")
    assert editor.stop()["reason"] == "breakpoint"
    top = editor.frames(levels=1)[0]
    assert (top["name"], top["source"]["name"]) == ("main", "listening_loop.py")
    assert editor.scope("Locals")["line"]["value"] == "'breakpoint\\n'"
    editor.ask("continue", threadId=1)
    assert loop.answer("passed", mark) == ""
    editor.ask("disconnect")


def test_a_line_of_python_stops_for_one_editor_after_the_other(loop: Loop, plain: str, spawn: Spawn) -> None:
    source = Path(__file__).with_name("listening_loop.py")
    line = 1 + source.read_text().splitlines().index("    torch.manual_seed(7)")
    for _ in range(2):
        editor = spawn()
        editor.response(begin_attach(editor, {"port": loop.port}))
        editor.ask("setBreakpoints", source={"path": str(source)}, breakpoints=[{"line": line}])
        finish_attach(editor)
        mark = loop.begin(f"generate {COUNT}")
        assert editor.stop()["reason"] == "breakpoint"
        assert [frame["name"] for frame in editor.frames(levels=2)] == ["generate", "main"]
        assert editor.scope("Locals")["count"]["value"] == str(COUNT)
        editor.ask("disconnect")
        assert loop.answer("answer", mark) == plain
        assert "traced False" in loop.left()


def test_a_child_that_is_forked_is_left_alone(loop: Loop, plain: str, spawn: Spawn) -> None:
    editor = spawn()
    attach(editor, loop.port, "model.layers.2")
    mark = loop.begin("fork")
    assert loop.answer("child", mark) == f"{plain} False"
    assert loop.answer("forked", mark) == "0"
    mark = loop.begin(f"generate {COUNT}")
    editor.stop()
    editor.break_at()
    editor.ask("continue", threadId=1)
    assert loop.answer("answer", mark) == plain
    editor.ask("disconnect")


def test_one_editor_at_a_time_and_only_with_the_token(loop: Loop, spawn: Spawn) -> None:
    assert eval(loop.ask("again", "again")) == ("127.0.0.1", loop.port), "it listens already"
    path = Path(token_file(loop.port))
    assert path.read_text() == loop.program.token()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    first = spawn()
    attach(first, loop.port)
    second = spawn()
    with pytest.raises(Refused, match=r"another editor is attached to this program \(process \d+\): disconnect it"):
        second.response(begin_attach(second, {"port": loop.port}))
    assert second.event("terminated")
    first.ask("disconnect")

    stranger = spawn()
    with pytest.raises(Refused, match=r"the token is wrong, which is the one at `\$\.connect\.token`"):
        stranger.response(begin_attach(stranger, {"port": loop.port, "token": "guessed"}))
    with socket.create_connection(("127.0.0.1", loop.port), TIMEOUT) as silent:
        third = spawn()
        attach(third, loop.port)
        assert third.ask("threads")["threads"][0]["name"] == "MainThread"
        third.ask("disconnect")
        silent.close()


def test_an_editor_may_end_the_program(spawn: Spawn) -> None:
    with running(str(Path(__file__).with_name("listening_loop.py"))) as program:
        port = program.debug_port()
        editor = spawn()
        attach(editor, port)
        editor.ask("disconnect", terminateDebuggee=True)
        assert program.end() == -signal.SIGTERM


def test_a_program_is_run_unchanged_by_listen_and_its_end_is_told(spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nprint(__name__, sys.argv[1:], sys.path[0], flush=True)\ninput()\nsys.exit(3)\n"
    )
    command = ["-m", "dap_server", "listen", "--port", "0", "--wait", "script.py", "--flag", "x"]
    environment = {"LLM_DAP_TOKEN": "a token of mine"}
    with running(*command, cwd=tmp_path, env=environment) as program:
        port = program.debug_port()
        assert "token" not in "".join(program.lines), "one that was given is not printed"
        editor = spawn()
        editor.response(begin_attach(editor, {"port": port, "token": "a token of mine"}))
        finish_attach(editor)
        assert program.line("__main__ (.*)")[1] == f"['--flag', 'x'] {tmp_path}"
        program.write("\n")
        assert editor.end() == 3
        assert program.end() == 3


LISTENS = "import dap_server; dap_server.listen(0); dap_server.wait_for_client(); input()"


@pytest.mark.parametrize(
    ("end", "told"),
    [("", "has ended\n"), ("import os; os._exit(0)", "has ended, or the connection is lost\n")],
    ids=["by itself", "at once"],
)
def test_an_editor_hears_that_a_program_has_ended_and_not_that_it_may_have(end: str, told: str, spawn: Spawn) -> None:
    with running("-c", f"{LISTENS}; {end}") as program:
        editor = spawn()
        attach(editor, program.debug_port())
        program.write("\n")
        assert program.end() == 0
        while "has ended" not in (text := editor.event("output")["output"]):
            pass
        assert text.endswith(told)
        editor.event("terminated")


def kill(editor: RawClient) -> None:
    assert editor.process
    os.kill(editor.process.pid, signal.SIGKILL)
    editor.process.wait(TIMEOUT)
    editor.process = None


def what(left: str) -> str:
    """Without the threads and files of a session, which end a moment after it."""
    return left.partition(" threads")[0]


def test_restart_attaches_anew(loop: Loop, plain: str, spawn: Spawn) -> None:
    editor = spawn()
    attach(editor, loop.port, "model.layers.2")
    mark = loop.begin(f"generate {COUNT}")
    editor.stop()
    editor.ask("restart")
    assert loop.answer("answer", mark) == plain, "it was let go"
    wait_until_attached(editor)
    mark = loop.begin(f"generate {COUNT}")
    assert editor.stop()["text"] == "before model.layers.2 in step 0"
    editor.ask("disconnect")
    assert loop.answer("answer", mark) == plain
