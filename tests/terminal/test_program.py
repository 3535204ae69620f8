"""`llm-dap debug`: what its command line means, and a session with lines of a program and layers of its model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from dap_server.terminal import program
from dap_server.terminal.breakpoints import LineBreakpoint, read, wanted
from dap_server.terminal.errors import CommandError
from tests.e2e.programs import alone, line_of, path_of
from tests.terminal.test_session import llm_dap


def options(*argv: str) -> dict[str, Any]:
    return program.launch_options(program._parser().parse_args(argv))


def test_what_stands_behind_the_program_is_its_own() -> None:
    assert options("-b", "step", "train.py", "--epochs", "1", "-m", "x") == {
        "program": "train.py", "args": ["--epochs", "1", "-m", "x"]
    }  # fmt: skip
    assert options("-b", "step", "-m", "package.train", "-b", "8") == {"module": "package.train", "args": ["-b", "8"]}


def test_without_a_breakpoint_it_stops_before_the_first_line() -> None:
    assert options("train.py") == {"program": "train.py", "stop_on_entry": True}
    assert options("--stop-on-entry", "-b", "step", "--no-python-debugger", "train.py") == {
        "program": "train.py", "stop_on_entry": True, "python_debugger": False
    }  # fmt: skip


def test_without_a_program_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["-b", "step"]) == 2
    assert "name a Python file" in capsys.readouterr().err


def test_a_line_of_a_python_file_is_a_breakpoint(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.touch()
    [at] = wanted(read(f"{file}:30 if loss > 4 and not done"), lambda: None)
    assert isinstance(at, LineBreakpoint)
    assert (at.file, at.at.line, at.at.condition) == (str(file), 30, "loss > 4 and not done")
    with pytest.raises(CommandError, match="there is no file"):
        wanted(read(f"{tmp_path}/missing.py:3"), lambda: None)


def test_a_script_is_debugged_in_the_terminal_line_by_line_and_layer_by_layer() -> None:
    line = f"{path_of('prompts.py')}:{line_of('prompts.py', 'print(')}"
    session = "where\nbreak *.layers.3\nnext\nback\n"
    done = llm_dap("debug", "-b", line, path_of("prompts.py"), stdin=session)
    assert done.returncode == 0, done.stderr
    assert "stopped in main · prompts.py:" in done.stdout
    assert "stopped before model.layers.3 · step 0 (prefill)" in done.stdout
    assert "stopped before model.layers.2 · step 0 (prefill)" in done.stdout
    assert all(text in done.stdout for text in alone("prompts.py").splitlines())


README_SESSION = "stack\nv Locals\ncontinue\nstack\nback\n"


def test_the_session_of_the_readme_is_what_one_sees() -> None:
    (readme,) = (parent / "README.md" for parent in Path(__file__).parents if (parent / "README.md").exists())
    shown = readme.read_text(encoding="utf-8").partition("$ llm-dap debug ")[2].partition("\n```")[0]
    command, *lines = [line for line in shown.splitlines() if line not in ("", "⋮")]
    assert len(lines) > 20
    done = llm_dap("debug", *shlex.split(command), stdin=README_SESSION, cwd=readme.parent)
    for line in lines:
        assert line in done.stdout.splitlines()
