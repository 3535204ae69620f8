"""A program that is debugged finds what it finds when Python runs it, and ends in the same way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from dap_server.engine.program.entry import with_entry
from dap_server.engine.program.script import ProgramError, Script
from dap_server.protocol.launch import LaunchArguments
from tests.conftest import EXAMPLE_MODEL

ROOT = EXAMPLE_MODEL.parents[2]
LAUNCHER = "tests.engine.program.launcher"

FACTS = """\
'''Tells what it sees of itself.'''
import inspect, multiprocessing, os, pickle, sys, warnings

class Thing:
    pass

def double(x):
    return 2 * x

if __name__ == "__main__":
    print(__name__, __doc__, __package__, __spec__ and __spec__.name, type(__loader__).__name__, __builtins__.__name__)
    print(sys.argv, os.path.realpath(__file__), os.path.realpath(sys.path[0]), os.getcwd())
    print(os.environ.get("PYTHONPATH"), sorted(name for name in os.environ if "LLM" in name))
    print(sys.modules["__main__"].__dict__ is globals(), pickle.loads(pickle.dumps(Thing())).__class__ is Thing)
    print(inspect.getsource(double), sorted(name for name in globals() if not name.startswith("__")))
    if "a" in sys.argv:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(double, [1, 2]))
    warnings.warn("careful")
"""
ENDINGS = """\
import atexit, os, signal, sys, threading
atexit.register(lambda: print("at exit", flush=True))
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread", flush=True))).start()
def fail():
    try:
        {}["key"]
    except KeyError:
        raise ValueError("worse")
HOW = {
    "returns": lambda: None,
    "raises": fail,
    "three": lambda: sys.exit(3),
    "none": lambda: sys.exit(None),
    "text": lambda: sys.exit("said at the end"),
    "large": lambda: sys.exit(256 + 7),
    "interrupted": lambda: signal.raise_signal(signal.SIGINT),
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "at once": lambda: os._exit(4),
    "generator": lambda: (_ for _ in ()).throw(GeneratorExit),
    "closed": lambda: (sys.stdout.close(), sys.stderr.close(), sys.exit(5)),
    "own hook": lambda: (setattr(sys, "excepthook", lambda *error: print("hook", error[0].__name__)), fail()),
}
print("begins", flush=True)
HOW[sys.argv[1]]()
"""


def alone(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    return _run(sys.executable, *arguments, cwd=cwd)


def launched(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """As the adapter starts it."""
    paths = {"PYTHONPATH": str(ROOT), "LLM_DAP_PYTHONPATH": ""}
    return _run(sys.executable, "-m", LAUNCHER, *arguments, cwd=cwd, **paths)


def _run(*command: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    env = {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **environment}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    for name in ("facts.py", "package/__init__.py", "package/__main__.py", "package/inner.py"):
        (tmp_path / name).write_text("" if name.endswith("__init__.py") else FACTS)
    (tmp_path / "endings.py").write_text(ENDINGS)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["{}/facts.py", "a", "b c"],
        ["{}/package/inner.py"],
        ["-m", "facts", "a"],
        ["-m", "package"],
        ["-m", "package.inner"],
        ["-m", "package.missing"],
    ],
    ids=" ".join,
)
def test_a_program_finds_what_it_finds_alone(folder: Path, arguments: list[str]) -> None:
    arguments = [argument.format(folder) for argument in arguments]
    expected, found = alone(*arguments, cwd=folder), launched(*arguments, cwd=folder)
    assert found[:2] == expected[:2]
    assert _last(found[2]) == _last(expected[2])


@pytest.mark.parametrize(
    "how", [line.split('"')[1] for line in ENDINGS.splitlines() if line.startswith('    "')], ids=str
)
def test_a_program_ends_as_it_ends_alone(folder: Path, how: str) -> None:
    script = str(folder / "endings.py")
    assert launched(script, how, cwd=folder) == alone(script, how, cwd=folder)


def _last(text: str) -> str:
    """Of errors and warnings: what they say. Python words them differently where it looks for a module."""
    return text.splitlines()[-1].split(": ")[-1] if text else ""


@pytest.mark.parametrize(
    ("launch", "says"),
    [
        ({"program": "missing.py"}, ["missing.py' cannot be read: No such file"]),
        ({"program": "package"}, ["package' is a folder", "name a Python file in it"]),
        ({"program": "broken.py"}, ["broken.py', line 2 is no Python", "was never closed"]),
        ({"program": "binary.py"}, ["binary.py' is no Python: source code string cannot contain null bytes"]),
        ({"module": "no_such_module"}, ["there is no module 'no_such_module' for"]),
        ({"module": "facts.py"}, ["there is no module 'facts.py'", "name a file as 'program'"]),
    ],
    ids=lambda value: "",
)
def test_what_cannot_be_run_is_said_before_anything_of_it_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, launch: dict[str, str], says: list[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "broken.py").write_text("x = 1\nprint((x)\n")
    (folder / "binary.py").write_bytes(b"x = 1\0")
    with pytest.raises(ProgramError) as raised:
        Script(LaunchArguments(**launch))  # type: ignore[arg-type]  # texts
    assert all(part in str(raised.value) for part in says), raised.value


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\ny = 2", 1),
        ("'''text'''\n\nx = 1\ny = 2", 3),
        ("'''text'''\nfrom __future__ import annotations\nx: int = 1\ny = 2", 3),
        ("\n\n(x := 1,\n y := 2)", 3),
        ("'''text'''", 1),
        ("", 1),
    ],
    ids=repr,
)
def test_a_program_is_entered_before_its_first_statement_and_is_the_same_afterwards(source: str, line: int) -> None:
    seen: list[tuple[int, list[str]]] = []

    def entered(frame: FrameType) -> None:
        seen.append((frame.f_lineno, [name for name in frame.f_locals if not name.startswith("__")]))

    plain: dict[str, object] = {}
    stopped: dict[str, object] = {}
    exec(compile(source, "x.py", "exec", dont_inherit=True), plain)
    exec(with_entry(source, "x.py", entered), stopped)
    assert seen == [(line, ["annotations"] if "__future__" in source else [])]
    assert {**stopped, "__builtins__": 0} == {**plain, "__builtins__": 0}
