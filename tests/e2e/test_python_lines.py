"""Lines of Python beside the places of a model, in one session, by debugpy in the process that runs the program."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers.models.llama import modeling_llama

from tests.conftest import EXAMPLE_MODEL
from tests.e2e.raw_client import Json, RawClient, Refused, names

Run = Callable[..., RawClient]
Spawn = Callable[[], RawClient]
PROMPTS = EXAMPLE_MODEL.parents[1] / "programs" / "prompts.py"
MODELING = Path(inspect.getfile(modeling_llama))


def line_of(file: Path, text: str) -> int:
    """The first line of a file with a text in it."""
    return next(i for i, line in enumerate(file.read_text().splitlines(), start=1) if text in line)


def set_lines(client: RawClient, file: Path, *lines: int | Json) -> list[Json]:
    asked = [line if isinstance(line, dict) else {"line": line} for line in lines]
    states: list[Json] = client.ask("setBreakpoints", source={"path": str(file)}, breakpoints=asked)["breakpoints"]
    return states


def where(client: RawClient) -> tuple[str, str, int]:
    """Name, file and line of the top frame."""
    frame = client.frames(levels=1)[0]
    return frame["name"], frame["source"]["name"], frame["line"]


def test_a_walk_from_python_into_a_layer_to_an_operation_and_back(spawn: Spawn, plain_output: str) -> None:
    client = spawn()
    lines = {str(PROMPTS): [{"line": line_of(PROMPTS, "output = model.generate")}]}
    client.response(client.begin(["*.layers.3"], lines=lines, program=str(PROMPTS)))
    stop = client.stop()
    assert (stop["reason"], where(client)) == ("breakpoint", ("answer", "prompts.py", 20))
    assert names(client.frames()) == ["answer", "main", "<module>"]
    assert client.evaluate("prompt") == "'The capital of France is'"
    assert client.evaluate("inputs.input_ids.shape", "watch") == "torch.Size([1, 6])"

    top = client.frames(levels=1)[0]["id"]
    assert [target["label"] for target in client.ask("stepInTargets", frameId=top)["targets"]] == ["into the model"]
    client.move("stepIn")  # transformers is no code of the user's: the step ends where its model begins
    assert where(client)[0] == "step 0 (prefill)"
    client.move("continue")
    assert where(client)[0] == "model.layers.3 (before)"
    client.move("next", granularity="instruction")
    assert where(client)[0].startswith("aten::")
    assert {"answer", "main", "<module>"} <= set(names(client.frames()))

    client.move("stepBack")  # out of the operation, and within the generate
    client.break_at()
    while where(client)[0].split()[0] != "step":
        client.move("stepOut")
    while where(client)[0].split()[0] == "step":
        client.move("next")
    assert where(client) == ("answer", "prompts.py", 21), "behind the last token Python goes on"
    assert (
        client.evaluate("tokenizer.decode(output[0], skip_special_tokens=True)") == f"'{plain_output.splitlines()[0]}'"
    )
    assert set_lines(client, PROMPTS) == []
    client.ask("continue", threadId=1)
    assert client.end() == 0
    assert client.output() == plain_output


@pytest.fixture(scope="module")
def plain_output() -> str:
    """What the program prints without a debugger."""
    return subprocess.run([sys.executable, str(PROMPTS)], capture_output=True, text=True, check=True).stdout


def test_lines_of_a_model_s_own_code_stop_in_a_run_of_a_prompt(run: Run, tmp_path: Path) -> None:
    client = run(prompt="The capital of France is", stopOnEntry=True, generation={"max_new_tokens": 3})
    client.stop()
    line = line_of(MODELING, "down_proj = self.down_proj")
    (unused,) = set_lines(client, tmp_path / "unrelated.py", 1)
    assert (unused["verified"], unused["reason"]) == (False, "pending")
    assert unused["message"].startswith("nothing has been loaded from this file")
    assert client.evaluate("'debugpy' in __import__('sys').modules") == "False", "nothing needs it yet"
    blank = line_of(MODELING, "class LlamaMLP") - 1
    states = set_lines(
        client,
        MODELING,
        {"line": line, "condition": "x.shape[1] == 1", "hitCondition": "2"},
        {"line": blank, "logMessage": "never"},
        {"line": line + 1, "logMessage": "shape {tuple(x.shape)}"},
    )
    assert [state["verified"] for state in states] == [True] * 3
    assert states[1]["line"] != blank, "a line without code moves to one with code"
    stop = client.move("continue")
    assert (stop["reason"], stop["hitBreakpointIds"]) == ("breakpoint", [states[0]["id"]])
    assert stop["text"] == f"modeling_llama.py:{line}"
    assert [frame["name"] for frame in client.frames(levels=2)] == ["LlamaMLP.forward", "model.layers.1.mlp"]
    assert client.evaluate("tuple(x.shape)") == "(1, 1, 192)"
    assert "shape (1, 6, 192)\n" in client.output("console")
    client.move("next")
    assert where(client)[1:] == ("modeling_llama.py", line + 1)
    client.move("stepOut")
    assert where(client)[0] == "LlamaDecoderLayer.forward"
    set_lines(client, MODELING)
    client.move("stepBack")  # at a line there is no unwinding: the run turns at the next module
    assert where(client)[0] == "model.layers.1 (before)" or where(client)[0].endswith("(before)")
    assert client.evaluate("__import__('sys').gettrace() is None") == "True", "without lines nothing is traced"


PROGRAM = """
import sys
import threading

def work(name):
    for i in range(3):
        step = f"{name} {i}"  # here
    return step

def careful(text):
    try:
        return int(text)  # raises
    except ValueError:
        return None

def main():
    threads = [threading.Thread(target=work, args=(name,), name=name) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    careful("x")
    round = 0
    while round >= 0:
        round += 1
    print("debugpy" in sys.modules)

main()
"""


def test_threads_exceptions_and_a_pause_in_a_program_without_a_model(spawn: Spawn, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    client = spawn()
    lines = {str(program): [{"line": line_of(program, "# here"), "condition": "i == 2"}]}
    client.response(client.begin(lines=lines, program=str(program)))
    first = client.stop()
    assert first["reason"] == "breakpoint"
    thread = next(t for t in client.ask("threads")["threads"] if t["id"] == first["threadId"])
    assert client.evaluate("name", frameId=client.frames(first["threadId"])[0]["id"]) == repr(thread["name"])
    client.ask("continue", threadId=first["threadId"])
    second = client.stop()
    assert {first["threadId"], second["threadId"]} == {2, 3}, "the other thread has waited for its turn"

    client.ask("setExceptionBreakpoints", filters=["python.raised"])
    set_lines(client, program)
    client.ask("continue", threadId=second["threadId"])
    stop = client.stop()
    assert (stop["reason"], where(client)) == ("exception", ("careful", "program.py", line_of(program, "# raises")))
    info = client.ask("exceptionInfo", threadId=stop["threadId"])
    assert info["exceptionId"] == "ValueError"
    assert "invalid literal for int()" in info["description"]
    with pytest.raises(Refused, match="no model has been called yet"):
        client.ask("stepBack", threadId=stop["threadId"])

    client.ask("setExceptionBreakpoints", filters=[])
    client.ask("continue", threadId=1)
    client.ask("pause", threadId=1)
    stop = client.stop()
    assert (stop["reason"], where(client)[0]) == ("pause", "main")
    assert client.evaluate("round > 0", "watch", frameId=client.frames()[0]["id"]) == "True"
    client.ask("next", threadId=1)
    assert client.stop()["reason"] == "step"
    client.ask("setExpression", expression="round", value="-5", frameId=client.frames()[0]["id"])
    client.ask("continue", threadId=1)
    assert client.end() == 0
    assert client.output() == "True\n"


@pytest.mark.usefixtures("unmeasured")
def test_without_the_python_debugger_debugpy_is_never_imported(spawn: Spawn, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys\nprint('debugpy' in sys.modules, sys.gettrace())\n")
    client = spawn()
    client.response(client.begin(lines={str(program): [{"line": 2}]}, program=str(program), pythonDebugger=False))
    assert client.end() == 0
    assert client.output() == "False None\n"
    states = [m["body"]["breakpoint"] for m in client.messages if m.get("event") == "breakpoint"]
    assert (states[-1]["verified"], states[-1]["reason"]) == (False, "failed")
    assert states[-1]["message"] == 'lines of Python are not debugged in this session ("pythonDebugger": false)'


FORKS = """
import multiprocessing
import os
import sys

def child():
    x = 1  # in a child
    return x

def main():
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.apply(child))
    try:
        y = 2  # here
        z = 3
    except KeyboardInterrupt:
        print("interrupted")
    w = 0
    while w < 1:
        w += 0  # after

main()
"""


def test_children_are_left_alone_and_ctrl_c_reaches_the_line_that_stands(spawn: Spawn, tmp_path: Path) -> None:
    program = tmp_path / "forks.py"
    program.write_text(FORKS)
    client = spawn()
    lines = {str(program): [{"line": line_of(program, mark)} for mark in ("# in a child", "# here", "# after")]}
    client.response(client.begin(lines=lines, program=str(program)))
    client.stop()
    assert where(client) == ("main", "forks.py", line_of(program, "# here"))
    process = next(m["body"]["systemProcessId"] for m in client.messages if m.get("event") == "process")
    os.kill(process, signal.SIGINT)
    client.stop()
    assert where(client)[2] == line_of(program, "# after"), "lines go on to be debugged"
    client.ask("setExpression", expression="w", value="1", frameId=client.frames()[0]["id"])
    client.ask("continue", threadId=1)
    assert client.end() == 0
    assert client.output() == "7\n1\ninterrupted\n"
