"""Names of axes: given only where they are known, by name and by size; and slices along any of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.tensors.axes import Axes, Positions, axes_of, parameter_axes
from dap_server.engine.inspection.variables import Row, describe

B, T, S, H, D, V = 2, 3, 5, 4, 8, 11
PREFILL = Positions([[1, 2, 3], [4, 5, 6]], Vocabulary(None), [[1, 2, 3], [4, 5, 6]], frozenset({H, 2}), 6, V)
DECODE = Positions([[3], [6]], Vocabulary(None), [[9, 8, 1, 2, 3], [9, 8, 4, 5, 6]], frozenset({H, 2}), 6, V)


@pytest.mark.parametrize(
    ("name", "shape", "positions", "names"),
    [
        ("hidden_states", (B, T, D), PREFILL, "batch position feature"),
        ("hidden_states", (B, 1, D), DECODE, "batch position feature"),
        ("output", (B, T, V), PREFILL, "batch position vocabulary"),
        ("logits", (B, T, V), PREFILL, "batch position vocabulary"),
        ("input_ids", (B, T), PREFILL, "batch position"),
        ("attention_mask", (B, S), DECODE, "batch key"),
        ("attn_weights", (B, H, T, T), PREFILL, "batch head query key"),
        ("attn_weights", (B, H, 1, S), DECODE, "batch head query key"),
        ("key_states", (B, H, T, D), PREFILL, "batch head position feature"),
        ("key_states", (B, T, H, D), PREFILL, "batch position head feature"),
        ("keys", (B, 2, S, D), DECODE, "batch head key feature"),
        ("keys", (B, 2, S - 1, D), DECODE, "batch head key feature"),
        ("router_logits", (B * T, 6), PREFILL, "tokens expert"),
        ("causal_mask", (B, 1, T, T), PREFILL, "batch axis 1 query key"),
        ("anything", (7, 7), PREFILL, "axis 0 axis 1"),
        ("hidden_states", (B, T + 1, D), PREFILL, "axis 0 axis 1 axis 2"),
        ("hidden_states", (B, T, D), None, "axis 0 axis 1 axis 2"),
        ("logits", (B, V), DECODE, "batch vocabulary"),
    ],
    ids=lambda value: {id(PREFILL): "prefill", id(DECODE): "decode"}.get(id(value), str(value)),
)
def test_an_axis_is_named_where_it_is_known(
    name: str, shape: tuple[int, ...], positions: Positions | None, names: str
) -> None:
    assert " ".join(axes_of(name, torch.zeros(shape), positions).names) == names


def test_an_axis_that_could_be_one_or_the_other_is_not_named() -> None:
    square = Positions([[1, 2, 3, 4]] * B, Vocabulary(None), [[1, 2, 3, 4]] * B, frozenset({H}))
    assert axes_of("key_states", torch.zeros(B, H, H, D), square).names == ("batch", "axis 1", "axis 2", "feature")


@pytest.mark.parametrize(
    ("module", "name", "names"),
    [
        (nn.Linear(3, 4), "weight", "out in"),
        (nn.Linear(3, 4), "bias", "out"),
        (nn.Embedding(3, 4), "weight", "vocabulary feature"),
        (nn.LayerNorm(3), "weight", "feature"),
        (Conv1D(4, 3), "weight", "in out"),
        (nn.Conv1d(3, 4, 2), "weight", "axis 0 axis 1 axis 2"),
    ],
    ids=str,
)
def test_parameters_have_the_axes_of_their_layer(module: nn.Module, name: str, names: str) -> None:
    assert " ".join(parameter_axes(module, name, getattr(module, name)).names) == names


def opened(row: Row, *path: str | int) -> Row:
    for step in path:
        children = row.children
        assert children is not None
        if isinstance(step, int):
            (row,) = children.indexed_rows(step, 1)
        else:
            row = next(found for found in children.named_rows() if found.name == step)
    return row


def elements(row: Row) -> Tensor:
    assert row.children is not None
    return torch.tensor([float(r.value.split()[-1]) for r in row.children.indexed_rows(0, 100)])


def test_a_tensor_opens_along_any_axis() -> None:
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    row = describe("hidden_states", tensor, PREFILL, "hidden_states")
    assert opened(row, "axes").value == "batch × position × feature"
    assert torch.equal(elements(opened(row, "axes", "feature", 3, 1)), tensor[1, :, 3])
    assert torch.equal(elements(opened(row, "axes", "position", 2, "axes", "feature", 1)), tensor[:, 2, 1])
    assert torch.equal(elements(opened(row, 1, 2)), tensor[1, 2])


def test_positions_show_their_tokens_wherever_the_sequence_is_known() -> None:
    row = describe("hidden_states", torch.zeros(2, 3, 4), PREFILL)
    assert opened(row, 1, 2).value.startswith("'<6>'  float32 [4]")
    assert opened(row, "axes", "position", 2).value.startswith("float32 [2, 4]"), "of two sequences"
    assert opened(row, "axes", "feature", 0, 1, 0).value == "'<4>'  0.0"
    weights = describe("attn_weights", torch.zeros(2, H, 1, S), DECODE)
    keys = opened(weights, 1, 0, 0).children
    assert keys is not None
    assert [r.value for r in keys.indexed_rows(0, 9)] == [f"'<{token}>'  0.0" for token in DECODE.text[1]]


def test_every_part_has_an_expression_that_gives_it() -> None:
    names: dict[str, Any] = {
        "x": torch.arange(24.0).reshape(2, 3, 4),
        "many": {"a": [torch.ones(2), {"b": torch.zeros(3)}], 5: torch.ones(1)},
        "module": nn.ModuleList([nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1))]),
    }

    def walk(row: Row, depth: int) -> int:
        if row.expression is not None:
            value = eval(row.expression, {}, names)
            if isinstance(value, Tensor) and row.memory is not None:
                assert torch.equal(value, row.memory.tensor)
            elif isinstance(value, Tensor):
                assert torch.tensor(float(row.value.split()[-1])).to(value.dtype) == value
        children = row.children
        if children is None or depth == 0:
            return 1
        below = [*children.named_rows(), *children.indexed_rows(0, 3)]
        return 1 + sum(walk(child, depth - 1) for child in below)

    assert sum(walk(describe(name, value, None, name), 5) for name, value in names.items()) > 100
    row = describe("result", torch.ones(2), None, "x[0, 0] + 1")
    assert opened(row, 1).expression == "(x[0, 0] + 1)[1]"


def test_a_slice_keeps_what_is_known_of_its_axes() -> None:
    axes = Axes(("batch", "head", "query", "key"), DECODE)
    assert axes.without(0, 1) == Axes(("head", "query", "key"), DECODE, 1)
    assert axes.label(3) is None, "of which sequence?"
    label = axes.without(0, 1).without(0, 2).label(1)
    assert label is not None
    assert label(2) == "'<4>'"
