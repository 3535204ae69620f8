"""Edits as messages: read and told again to the last bit, and refused with the reason."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import UnknownToken, Vocabulary
from dap_server.engine.execution.edits.edit import Steps
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.requests.edit_specs import EditSpecs, decoded, encoded, spec_of
from dap_server.protocol.llm.edits import EditSpec
from tests.models.tiny import tiny_model

VECTOR = {"dtype": "float32", "shape": [2], "data": "AACAPwAAAEA="}  # 1 and 2
ATTENTION = "model.layers.0.self_attn"

GOOD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("zero output of model.layers.0, from step 1 on", {"kind": "module", "path": "model.layers.0"}, {"kind": "zero"}),
    (
        "scale input hidden_states of *.mlp at sequence 0, positions 3, -1 by 2, from step 1 on",
        {
            "kind": "module",
            "path": "*.mlp",
            "value": "input",
            "part": "hidden_states",
            "sequences": [0],
            "positions": [3, -1],
        },
        {"kind": "scale", "number": 2.0},
    ),
    (
        "output of LlamaMLP[0, -1, 3:5] = nan, from step 1 on",
        {"kind": "module", "path": "LlamaMLP", "index": "[0, -1, 3:5]"},
        {"kind": "set", "number": "nan"},
    ),
    (
        f"zero what heads give in {ATTENTION} at heads 1, from step 1 on",
        {"kind": "attention", "path": ATTENTION, "heads": [1]},
        {"kind": "zero"},
    ),
    (
        f"attention pattern of {ATTENTION} at queries -1, keys 0 = 0, from step 1 on",
        {"kind": "attention", "path": ATTENTION, "value": "pattern", "queries": [-1], "keys": [0]},
        {"kind": "set", "number": 0.0},
    ),
    (
        "model.norm.weight[:2] = other numbers, from step 1 on",
        {"kind": "parameter", "name": "model.norm.weight", "index": "[:2]"},
        {"kind": "set", "tensor": VECTOR},
    ),
    (
        "noise of 0.5 on cache 1.keys at position 0, from step 1 on",
        {"kind": "cache", "name": "1.keys", "positions": [0]},
        {"kind": "noise", "number": 0.5, "seed": 7},
    ),
    ("ban '<5>', '<6>', from step 1 on", {"kind": "logits"}, {"kind": "ban", "tokens": [5, 6]}),
    ("bias '<5>' by -inf, from step 1 on", {"kind": "logits"}, {"kind": "bias", "tokens": [5], "number": "-inf"}),
    (
        "the token of sequence 1 = '<9>', from step 1 on",
        {"kind": "token", "sequences": [1]},
        {"kind": "force", "tokens": [9]},
    ),
    ("temperature = 0.7, from step 1 on", {"kind": "option", "name": "temperature"}, {"kind": "set", "number": 0.7}),
    (
        "zero expert 3 of model.layers.0.mlp, from step 1 on",
        {"kind": "expert", "path": "model.layers.0.mlp", "expert": 3},
        {"kind": "zero"},
    ),
    (
        "patch output of model.layers.0 at position 4 from 'The capital', position 4, from step 1 on",
        {"kind": "module", "path": "model.layers.0", "positions": [4]},
        {"kind": "patch", "tensor": VECTOR, "source": {"prompt": "The capital", "positions": [4]}},
    ),
    (
        "clamp output of model.layers.0 from -1 to 2, from step 1 on",
        {"kind": "module", "path": "model.layers.0"},
        {"kind": "clamp", "low": -1.0, "high": 2.0},
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def specs() -> EditSpecs:
    return EditSpecs(Anatomy(tiny_model("llama")), Vocabulary(None))


@pytest.mark.parametrize(("text", "target", "change"), GOOD, ids=[text for text, _, _ in GOOD])
def test_an_edit_is_told_as_it_was_given(
    specs: EditSpecs, text: str, target: dict[str, Any], change: dict[str, Any]
) -> None:
    edit = specs.edit(_spec({"target": target, "change": change}), Steps(1))
    assert edit.text == text
    told = msgspec.to_builtins(spec_of(edit, with_data=True))
    assert told["target"] == {"value": "output", **target} if target["kind"] == "module" else told["target"]
    assert told["change"] == change
    again = specs.edit(_spec(told), Steps(0))
    assert msgspec.to_builtins(spec_of(again, with_data=True)) == told
    assert (again.target, again.steps, again.text) == (edit.target, edit.steps, edit.text)


def test_a_list_of_edits_leaves_the_numbers_out_unless_asked(specs: EditSpecs) -> None:
    steer = {"target": {"kind": "module", "path": "model.layers.0"}, "change": {"kind": "steer", "tensor": VECTOR}}
    edit = specs.edit(_spec(steer), Steps(0))
    assert "data" not in msgspec.to_builtins(specs.info(edit).spec.change.tensor)
    assert msgspec.to_builtins(specs.info(edit, with_data=True).spec.change.tensor) == VECTOR


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool, torch.float8_e4m3fn],
    ids=str,
)
def test_tensors_come_back_to_the_last_bit(dtype: torch.dtype) -> None:
    values = torch.tensor([[0.0, -0.0, 1.5], [math.inf, math.nan, 1e-30]])
    if not dtype.is_floating_point:
        values = values.nan_to_num(posinf=7.0)
    tensor = values.to(dtype).T  # not contiguous
    back = decoded(encoded(tensor))
    assert back.dtype == dtype
    assert torch.equal(_bytes(back), _bytes(tensor))
    assert back.shape == tensor.shape
    assert decoded(encoded(torch.empty(0, 3))).shape == (0, 3)
    assert decoded(encoded(torch.tensor(2.0))).item() == 2.0


BAD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("no module 'model.layers.9'; did you mean", {"kind": "module", "path": "model.layers.9"}, {"kind": "zero"}),
    ("is a list of modules", {"kind": "module", "path": "model.layers"}, {"kind": "zero"}),
    ("cannot be part of a module path", {"kind": "module", "path": "model layers"}, {"kind": "zero"}),
    ("names no module: write a path", {"kind": "module", "path": "after:model.norm"}, {"kind": "zero"}),
    ("a target of kind 'module' needs its 'path'", {"kind": "module"}, {"kind": "zero"}),
    ("a target of kind 'token' has no positions", {"kind": "token", "positions": [3]}, {"kind": "zero"}),
    ("'force' needs a token", {"kind": "token"}, {"kind": "force"}),
    ("'zero' is no change of the token: that takes force", {"kind": "token"}, {"kind": "zero"}),
    ("there is no token 96", {"kind": "token"}, {"kind": "force", "tokens": [96]}),
    ("there is no tokenizer that knows ' Paris'", {"kind": "token"}, {"kind": "force", "tokens": [" Paris"]}),
    ("no parameter or buffer 'model.nrm'; did you", {"kind": "parameter", "name": "model.nrm"}, {"kind": "zero"}),
    ("'set' needs a number or a tensor", {"kind": "parameter", "name": "model.norm.weight"}, {"kind": "set"}),
    ("'set' is no change of an expert", {"kind": "expert", "path": "*.mlp", "expert": 0}, {"kind": "set", "number": 1}),
    ("a target of kind 'expert' needs its 'path'", {"kind": "expert", "expert": 0}, {"kind": "zero"}),
    ("'scale' needs a number", {"kind": "module", "path": "model.norm"}, {"kind": "scale"}),
    ("a module has no 'heads'", {"kind": "module", "path": "model.norm", "value": "heads"}, {"kind": "zero"}),
    ("attention has no 'input'", {"kind": "attention", "path": ATTENTION, "value": "input"}, {"kind": "zero"}),
    ("'[a]' is no index", {"kind": "module", "path": "model.norm", "index": "[a]"}, {"kind": "zero"}),
    ("'3' is no index", {"kind": "module", "path": "model.norm", "index": "3"}, {"kind": "zero"}),
    (
        "has 8 bytes, and these are 4",
        {"kind": "module", "path": "model.norm"},
        {"kind": "set", "tensor": {"dtype": "float32", "shape": [2], "data": "AACAPw=="}},
    ),
    (
        "no base64",
        {"kind": "module", "path": "model.norm"},
        {"kind": "set", "tensor": {"dtype": "float32", "shape": [1], "data": "?"}},
    ),
    (
        "there is no dtype 'float'",
        {"kind": "module", "path": "model.norm"},
        {"kind": "set", "tensor": {"dtype": "float", "shape": [1], "data": ""}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "target", "change"), BAD, ids=[text for text, _, _ in BAD])
def test_what_means_nothing_is_refused_with_the_reason(
    specs: EditSpecs, text: str, target: dict[str, Any], change: dict[str, Any]
) -> None:
    with pytest.raises((CannotEdit, UnknownToken)) as refused:
        specs.edit(_spec({"target": target, "change": change}), Steps(0))
    assert text in str(refused.value)


def _spec(value: dict[str, Any]) -> EditSpec:
    return msgspec.convert(value, EditSpec)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)
