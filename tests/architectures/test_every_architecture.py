"""A whole debug session on a tiny instance of every type that transformers' four Auto classes can build.

Nothing in the debugger knows an architecture by name. What transformers itself does otherwise is said here.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.architectures.session import Session
from tests.conftest import Report
from tests.models.attention import EXACT
from tests.models.cases import cases
from tests.models.tiny import NOT_BUILT, TASKS, Task, model_types, tiny_inputs, tiny_model

SAMPLE: dict[Task, list[str]] = {
    "causal": ["llama", "gpt_oss", "mamba", "qwen3_next", "deepseek_v3"],
    "seq2seq": ["t5", "bart", "voxtral"],
    "masked": ["bert", "modernbert"],
    "classification": ["gpt2", "bart"],
}
"""What runs every time; the rest is marked `architectures`."""

SUMS = 1e-4
"""What may be between a logit and the sum of its parts, of a logit of ordinary size."""

ONE_BLOCK = "has one block, which it runs for every layer"
OTHERWISE_COUNTED: dict[tuple[Task, str], str] = {
    ("causal", "hrm_text"): "counts every turn that it makes through its 2+2 blocks",
    ("causal", "longcat_flash"): "counts two layers of attention for every block",
    ("masked", "albert"): ONE_BLOCK,
    ("classification", "albert"): ONE_BLOCK,
    ("classification", "funnel"): "counts the layers of a decoder that it does not have here",
}
"""Types that have another number of blocks than their configuration says layers, and why."""

PASSED_OVER: dict[tuple[Task, str], str] = {
    ("causal", "mllama"): "passes over its layers of cross attention where there is no image",
}
"""Types that do not call all layers of a stack on text alone, and why."""

_table: dict[Task, list[str]] = {task: [] for task in TASKS}


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("task", "name"), cases(SAMPLE, pytest.mark.architectures))
def test_a_whole_session(task: Task, name: str) -> None:
    _note(task, name, "FAILED")
    model = tiny_model(name, task)
    generates = task in ("causal", "seq2seq")
    inputs = tiny_inputs(model, task)
    if generates:
        inputs.pop("decoder_input_ids", None)
    session = Session(model, inputs, generates)
    assert session.repeats_itself, "it gives something else when it runs again, without a debugger"
    is_alike, found = session.is_alike, session.found
    assert session.is_finished
    assert is_alike
    assert found.unreadable == []
    half_called = session.half_called
    layers = "+".join(map(str, found.stacks)) + (f", {found.idle} not called" if found.idle else "")
    weights = f"{found.attention:.0e} in {found.calls} calls ({', '.join(sorted(found.sources))})"
    attention = weights if found.calls else "none"
    sums = found.why_not if found.attributed is None else f"{found.attributed:.0e}"
    refused = "".join(f" · {why}" for why in sorted(found.refused) if not why.startswith("Attribution"))
    _note(
        task, name, f"layers {layers} · attention {attention} · {found.replayed} outputs replayed exactly"
        f" · {'tokens' if generates else 'logits'} identical · attribution {sums}{refused}",
    )  # fmt: skip
    assert layers
    assert bool(half_called) is ((task, name) in PASSED_OVER), f"not called: {half_called}"
    assert found.attention < EXACT
    assert found.attributed is None or found.attributed < SUMS
    says = _layers_said(model)
    assert (says <= set(found.stacks)) is ((task, name) not in OTHERWISE_COUNTED), (
        f"{says} layers are said, {layers} found"
    )


def _layers_said(model: Any) -> set[int]:
    """The numbers of layers that a configuration speaks of."""
    config = model.config.get_text_config()
    names = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers")
    return {value for name in names if isinstance(value := getattr(config, name, None), int)}


def _note(task: Task, name: str, what: str) -> None:
    rows = _table[task]
    if rows and rows[-1].startswith(f"{name} "):
        rows.pop()
    rows.append(f"{name:26} {what}")


def test_what_was_found_is_told(report: Report) -> None:
    for task, rows in _table.items():
        left_out = [f"{name:26} not built: {reason}" for name, reason in NOT_BUILT[task].items()]
        types = len(model_types(task))
        is_whole = len(rows) + len(left_out) == types
        report(f"architectures, {task}: {len(rows)} of {types} types", [*rows, *(left_out if is_whole else [])])
