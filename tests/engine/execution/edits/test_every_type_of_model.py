"""A run of every type of model is edited, forked and brought back, whatever its cache and its layers are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.edit import Token
from dap_server.engine.execution.stepping import Stop
from tests.engine.execution.edits.sessions import Session, by_hand, edit, go_on, output, plain, same_run
from tests.models.cases import cases
from tests.models.tiny import Task, tiny_model

SAMPLE: dict[Task, list[str]] = {"causal": ["gpt_oss", "mamba"], "seq2seq": ["t5"]}
"""What runs every time."""

WITHOUT: dict[str, str] = {
    "big_bird": "does not repeat itself",
    "bigbird_pegasus": "does not repeat itself",
    "reformer": "does not generate from a batch",
    "voxtral_realtime": "hears, and does not read",
}
"""Types with no run to be edited, and why."""

NOT_BY_HAND: dict[str, str] = {
    "hrm_text": "calls its layers several times in a step, which the hooks of the test do not tell apart",
    "openai-gpt": "returns lists, which the hooks of the test do not take apart",
}
WITHOUT_EFFECT: dict[str, str] = {
    "blt": "the last of its stacks finds where patches end, which need not move",
    "mllama": "its last layer looks at pictures, and is passed over without any",
    "nemo_speechlm": "the last of its stacks is for times, and is not called",
    "xlm": "the logits of its tiny model are all 0",
    "xlnet": "its logits are of the second tensor that a layer returns",
}
"""Types where it changes no logit, and why."""
SAMPLED: dict[str, Any] = {"do_sample": True}


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("task", "name"), cases(SAMPLE, pytest.mark.sweep))
def test_a_run_is_edited_and_brought_back(task: Task, name: str) -> None:
    if name in WITHOUT:
        return
    model = tiny_model(name, task)
    own = plain(model, **SAMPLED)
    all_layers = Anatomy(model).layer_paths
    layers = [path for path in all_layers if "encoder" not in path.split(".")] or all_layers
    path = layers[-1]  # of several stacks the last one is of text
    edited: list[Tensor] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(
            stop, edit(output(path), "clamp", 1, low=-0.1, high=0.2), edit(Token(0), "force", 3, 3, tokens=(7,))
        )

    def undo(session: Session, stop: Stop) -> None:
        generation, tape = stop.generation, stop.generation.tape
        assert tape is not None
        assert generation.input_ids is not None
        assert int(generation.input_ids[0, -3]) == 7
        assert not generation.branches.outcomes.problems
        for step in range(4):
            selection = tape.replay(step)
            assert selection is not None
            edited.append(selection.logits)
        session.put(stop, generation.edits.without(2).without(1))

    assert same_run(Session(model, [change, go_on, undo]).run(**SAMPLED), own)
    assert not torch.equal(edited[1], own.logits[1]) or name in WITHOUT_EFFECT
    if name not in NOT_BY_HAND:
        with by_hand(model.get_submodule(path), lambda step, value: value.clamp(-0.1, 0.2) if step >= 1 else value):
            expected = plain(model, **SAMPLED)
        assert all(map(torch.equal, edited, expected.logits[:4]))
