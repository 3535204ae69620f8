"""The prompt, typed at through prompt_toolkit's own pipe."""

from collections.abc import Iterator

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from dap_server.terminal.completion import DebuggerCompleter
from dap_server.terminal.loop import Loop
from tests.terminal.stage import Stage

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield pipe


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.start()
    return stage


def typed(stage: Stage, keys: PipeInput, text: str) -> list[str]:
    """The resuming and evaluating requests that some keys lead to."""
    keys.send_text(text)
    Loop(stage.debugger, InMemoryHistory()).run()
    return [command for command, _ in stage.fake.asked if command in ("next", "stepIn", "evaluate", "continue")]


def test_lines_are_done_until_the_user_quits(stage: Stage, keys: PipeInput) -> None:
    assert typed(stage, keys, f"next{ENTER}1 + 1{ENTER}quit{ENTER}step{ENTER}") == ["next", "evaluate"]
    assert not stage.debugger.is_over


def test_the_end_of_the_input_ends_the_loop(stage: Stage, keys: PipeInput) -> None:
    assert typed(stage, keys, CTRL_D) == []


def test_an_empty_line_repeats_a_step_without_its_target(stage: Stage, keys: PipeInput) -> None:
    assert typed(stage, keys, f"step mlp{ENTER}{ENTER}{CTRL_D}") == ["stepIn", "stepIn"]
    assert stage.fake.arguments_of("stepIn") == {"threadId": 1}


def test_an_empty_line_repeats_nothing_else(stage: Stage, keys: PipeInput) -> None:
    assert typed(stage, keys, f"p x{ENTER}{ENTER}{CTRL_D}") == ["evaluate"]


def test_ctrl_c_leaves_a_line_and_repeats_nothing(stage: Stage, keys: PipeInput) -> None:
    assert typed(stage, keys, f"next{ENTER}half a line{CTRL_C}{ENTER}{CTRL_D}") == ["next"]


def test_the_loop_ends_with_the_model(stage: Stage, keys: PipeInput) -> None:
    assert typed(stage, keys, f"continue{ENTER}") == ["continue"]


def test_a_model_that_dies_at_the_prompt_ends_it(stage: Stage, keys: PipeInput) -> None:
    stage.fake.event("output", output="killed\n", category="important")
    stage.fake.event("exited", exitCode=137)
    stage.fake.event("terminated")
    typed(stage, keys, "half a line")
    assert "killed\nthe model's process has ended with exit code 137" in stage.paper.getvalue()


def test_an_adapter_that_dies_at_the_prompt_ends_it(stage: Stage, keys: PipeInput) -> None:
    stage.fake.connection.close()
    typed(stage, keys, "half a line")
    assert "error: the adapter has gone" in stage.paper.getvalue()


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ("ne", ["next", "nexti"]),
        ("st", ["stack", "step", "stepi"]),
        ("v In", ["Inputs"]),
        ("v Inputs.", ["Inputs.x"]),
        ("step m", ["mlp"]),
        ("b sa", ["sample"]),
        ("b mod", ["model.layers.3", "model.layers.3.mlp"]),
        ("d *", ["*.layers.3"]),
        ("help wh", ["where"]),
        ("p tor", ["torch", "_tor"]),
        ("x = tor", ["torch", "_tor"]),
        ("v Nothing.x", []),
        ("where no", []),
    ],
)
def test_tab_offers_what_fits(stage: Stage, text: str, offers: list[str]) -> None:
    private_first = [{"label": "_tor", "length": 3}, {"label": "torch", "length": 3}]
    stage.fake.on("completions", lambda args: {"targets": private_first if args["text"].endswith("tor") else []})
    found = DebuggerCompleter(stage.debugger).get_completions(Document(text), CompleteEvent())
    assert [completion.text for completion in found] == offers
