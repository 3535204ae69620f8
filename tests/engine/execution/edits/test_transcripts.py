"""What a client reads while a run goes another way: the new text, on a line of its own with the branch's name."""

from __future__ import annotations

from typing import Any

import pytest

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.edit import Token
from dap_server.engine.execution.prompting import PromptRun
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.protocol.launch import LaunchArguments
from tests.engine.execution.edits.sessions import edit, output, turned


def written(atlas: Loaded, change: Any, **generation: Any) -> str:
    """Of a run that is edited once at its end."""

    def stopped(stop: Stop) -> None:
        branches = stop.generation.branches
        is_first = not stop.generation.edits
        if not is_first or not turned(stepper, stop.generation.edits.plus(branches.numbered([change]))):
            stepper.resume(Motion.RUN)

    pieces: list[str] = []
    stepper = Stepper(Anatomy(atlas.model), stopped)
    launch = LaunchArguments(model="atlas", prompt="The capital of France is", generation=generation)
    run = PromptRun(atlas, launch, stepper, pieces.append)
    stepper.turned = run.turned
    run.run()
    return "".join(pieces)


def test_a_branch_goes_on_from_the_text_that_it_shares(atlas: Loaded) -> None:
    tokyo = atlas.tokenizer(" Tokyo", add_special_tokens=False)["input_ids"]
    lines = written(atlas, edit(Token(), "force", 0, 0, tokens=tuple(tokyo)), max_new_tokens=2).splitlines()
    assert lines == ["The capital of France is Paris.", "", "[branch 2] The capital of France is Tokyo."]
    lines = written(atlas, edit(Token(), "force", 1, 1, tokens=tuple(tokyo)), max_new_tokens=2).splitlines()
    assert lines[2] == "[branch 2] The capital of France is Paris Tokyo"


def test_a_long_text_is_not_written_again(atlas: Loaded) -> None:
    text = written(atlas, edit(output("model.layers.0"), "zero", 90), max_new_tokens=92, min_new_tokens=92)
    first, _, second = text.splitlines()
    assert second.startswith("[branch 2] …")
    assert len(second) < 160 < len(first)


@pytest.mark.parametrize("beams", [1, 2])
def test_what_another_loop_makes_is_written_again_when_it_is_over(atlas: Loaded, beams: int) -> None:
    lines = written(atlas, edit(output("model.layers.1"), "zero"), max_new_tokens=2, num_beams=beams).splitlines()
    assert lines[0] == "The capital of France is Paris."
    assert lines[2].startswith("[branch 2] The capital of France is")
    assert lines[2] != "[branch 2] The capital of France is Paris."
