"""Heads of every type of model are edited, without a table of architectures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.analysis.attention.capture import Hearing
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Steps
from dap_server.engine.execution.edits.outcomes import Outcomes
from dap_server.engine.execution.probes import Enough, instrumented
from tests.models.tiny import NOT_BUILT, TASKS, Task, model_types, tiny_inputs, tiny_model

_RECURRENT = "has recurrent layers instead of attention"
_NO_MATRIX = "has no axis of all keys in its softmax: it looks at blocks, buckets or bands of them"

WITHOUT: dict[str, str] = {
    "falcon_mamba": _RECURRENT,
    "mamba": _RECURRENT,
    "mamba2": _RECURRENT,
    "rwkv": _RECURRENT,
    "xlstm": _RECURRENT,
    "fnet": "mixes tokens by a Fourier transform",
    "longformer": _NO_MATRIX,
    "mra": _NO_MATRIX,
    "reformer": _NO_MATRIX,
    "yoso": "samples whom it looks at, without a softmax",
}
"""Types whose attention cannot be heard, and why."""

WITHOUT_EFFECT: dict[str, str] = {
    "blt": "attends first to find where its patches end, which an edit need not move",
    "neomme": "its output projections begin at zero",
}
"""Types where the tiny model says the same without the first head of its first attention, and why."""

SAMPLE: dict[Task, list[str]] = {"causal": ["llama"], "seq2seq": ["t5"], "masked": ["bert"], "classification": ["gpt2"]}
"""What runs every time."""

CHANGES: dict[Any, tuple[Change, dict[str, tuple[int, ...]]]] = {
    "heads": (Change("zero"), {}),
    "pattern": (Change("zero"), {}),
    "scores": (Change("set", number=7.0), {"keys": (0,)}),
}


def _cases() -> list[Any]:
    return [
        pytest.param(task, name, marks=[] if name in SAMPLE[task] else [pytest.mark.sweep])
        for task in TASKS
        for name in model_types(task)
        if name not in NOT_BUILT[task]
    ]


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("task", "name"), _cases())
def test_the_first_head_can_be_changed(task: Task, name: str) -> None:
    model = tiny_model(name, task)
    anatomy, inputs = Anatomy(model), tiny_inputs(model, task, batch=2)
    path = _first_attention(model, anatomy, inputs)
    assert (path is None) is (name in WITHOUT)
    if path is None:
        return
    plain = _logits(model, inputs)
    for value, (change, chosen) in CHANGES.items():
        for done in (Change("scale", number=1.0), change):
            edit = Edit(AttentionValue(path, value, heads=(0,), **chosen), done, Steps(), id=1)
            found = _edited(model, anatomy, inputs, edit)
            is_same = done is not change or name in WITHOUT_EFFECT
            assert torch.equal(found, plain) is is_same, f"{value} {done.kind}"
    assert torch.equal(_logits(model, inputs), plain)


def _first_attention(model: Any, anatomy: Anatomy, inputs: dict[str, Tensor]) -> str | None:
    hearing = Hearing("", anatomy)
    with torch.no_grad(), hearing.closed_afterwards(), instrumented(anatomy, hearing), pytest.raises(Enough):
        model(**inputs)
    if not hearing.calls:
        return None
    return hearing.calls[0].path.removesuffix(".softmax")  # a module of its own in ibert


def _edited(model: Any, anatomy: Anatomy, inputs: dict[str, Tensor], edit: Edit) -> Tensor:
    outcomes = Outcomes()
    with ModuleEdits(anatomy).applied(lambda: (0, [edit]), outcomes):
        logits = _logits(model, inputs)
    assert not outcomes.problems
    return logits


@torch.no_grad()
def _logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    logits: Tensor = model(**inputs).logits
    return logits
