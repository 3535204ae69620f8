"""Whole sessions in the example model, through the adapter and the engine as they are."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from dap_server.terminal.client import Client
from tests.schema import validate

PROMPT = "The capital of France is"
RUN = [sys.executable, "-m", "dap_server", "run"]


def llm_dap(*argv: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ)  # not the C environment, in which readline sets COLUMNS
    command = [sys.executable, "-m", "dap_server", *argv]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, env=env, cwd=cwd)


@pytest.fixture
def client() -> Iterator[Client]:
    def observe(_: str, message: dict[str, Any]) -> None:
        validate(message, strict=True)

    with Client.spawn(observer=observe) as made:
        yield made


def test_a_session_stops_in_a_layer_steps_and_ends(client: Client, example_model: Path) -> None:
    generation = {"max_new_tokens": 2}
    client.start(model=str(example_model), prompt=PROMPT, breakpoints=["*.layers.3"], generation=generation)
    assert client.wait_for_stop().reason == "function breakpoint"
    assert client.top_frame().name == "model.layers.3 (before)"
    assert client.scope("Inputs")["hidden_states"].value.startswith("float32 [1, 6, 192]")
    client.next()
    client.wait_for_stop()
    assert client.top_frame().name == "model.layers.4 (before)"
    client.set_function_breakpoints("sample")
    client.continue_()
    client.wait_for_stop()
    assert client.scope("Sampling")["token"].value == "' Paris'"
    client.step_back().result(60)
    client.wait_for_stop()
    assert client.top_frame().name == "logits (before)"
    client.restart_frame(client.stack_trace().stack_frames[-1].id).result(60)
    assert client.wait_for_stop().reason == "restart"
    assert client.top_frame().name == "step 0 (prefill)"
    client.set_function_breakpoints()
    client.run_to_step(1, "model.layers.2.mlp", "after").result(60)
    client.wait_for_stop()
    assert client.top_frame().name == "model.layers.2.mlp (after)"
    client.reverse_step_out().result(60)
    client.wait_for_stop()
    assert client.top_frame().name == "model.layers.2 (before)"
    client.reverse_step_in().result(60)
    client.wait_for_stop()
    assert client.top_frame().name == "model.layers.1 (after)"
    model = client.stack_trace().stack_frames[2]
    assert model.source
    targets = client.goto_targets(model.source.path or "", model.line)
    ahead = [f"{phase} model · step {step}" for step in (1, 2) for phase in ("before", "after")]
    assert [target.label for target in targets] == [*ahead, "before model · step 0"]
    client.goto(targets[-1].id).result(60)
    client.wait_for_stop()
    client.reverse_continue().result(60)
    assert client.wait_for_stop().reason == "entry"
    client.continue_()
    assert client.wait_for_stop().description == "generation finished"
    client.continue_()
    assert client.wait_for_end() == 0
    assert client.output() == "The capital of France is Paris.\n"


def test_a_launch_that_is_refused_is_an_error(client: Client) -> None:
    with pytest.raises(Exception, match="'model' is missing"):
        client.start(model="", prompt=PROMPT)


def test_a_script_is_a_transcript_and_its_failures_are_its_status(example_model: Path, tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("where\nxyzzy\nquit\n")
    played = llm_dap(
        "run", str(example_model), "--prompt", PROMPT, "-b", "*.layers.3", "--script", str(commands), stdin="next\n"
    )
    assert played.returncode == 1
    assert played.stdout.splitlines() == [
        "The capital of France is",
        "stopped before model.layers.3 · step 0 (prefill) · function breakpoint *.layers.3",
        "(llm) where",
        "text  <s>│The│ capital│ of│ France│ is│▸ before model.layers.3, step 0 (prefill)",
        "(llm) xyzzy",
        "error: NameError: name 'xyzzy' is not defined",
        "(llm) quit",
    ]


def test_commands_may_come_through_a_pipe_and_the_model_runs_to_its_end(example_model: Path) -> None:
    played = llm_dap(
        *("run", str(example_model), "--prompt", PROMPT, "--max-new-tokens", "2", "-b", "step"), stdin="next\n"
    )
    assert played.returncode == 0
    assert played.stdout.splitlines()[-4:] == [
        "stopped at step 1 · function breakpoint step",
        "….",
        "stopped at step 1 (end of the generation) · generation finished",
        "the model's process has ended",
    ]


def test_a_launch_that_fails_is_one_line(tmp_path: Path) -> None:
    played = llm_dap("run", str(tmp_path / "none"), "--prompt", PROMPT)
    assert played.returncode == 1
    (line,) = played.stdout.splitlines()
    assert line.startswith("error: ")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # pexpect forks, and tests have threads
def test_a_person_at_a_terminal(example_model: Path, tmp_path: Path) -> None:
    env = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1"}
    argv = [*RUN[1:], str(example_model), "--prompt", PROMPT, "-b", "*.layers.3", "--max-new-tokens", "100000",
            "-o", "eos_token_id=-1"]  # fmt: skip
    terminal = pexpect.spawn(RUN[0], argv, env=env, dimensions=(40, 100), timeout=60, encoding="utf-8")
    try:
        terminal.expect_exact("before model.layers.3")
        terminal.expect_exact("(llm)")
        terminal.send("v Inp\t")
        terminal.expect_exact("uts")
        terminal.send("\r")
        terminal.expect_exact("float32 [1, 6, 192] cpu")
        terminal.send("delete all\r")
        terminal.expect_exact("no breakpoints")
        terminal.send("continue\r")
        terminal.expect_exact("Paris")
        terminal.sendintr()
        terminal.expect("stopped.*pause")
        terminal.send("quit\r")
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0
    finally:
        terminal.close(force=True)
    assert "continue" in (tmp_path / "llm-dap" / "history").read_text()
