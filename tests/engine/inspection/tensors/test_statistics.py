"""Numbers about tensors, each against an independent calculation in NumPy's float64."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import pieces, text
from dap_server.engine.inspection.tensors.statistics import statistics
from dap_server.engine.inspection.variables import describe

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]


def reference(tensor: Tensor) -> np.ndarray:
    return np.array([float(x) for x in tensor.flatten().tolist()])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1,)], ids=str)
def test_statistics_are_those_of_the_elements(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    tensor = (torch.randn(shape) * 3).abs().to(dtype) if dtype is torch.uint8 else (torch.randn(shape) * 3).to(dtype)
    stats, x = statistics(tensor), reference(tensor)
    assert stats.mean == pytest.approx(x.mean(), rel=1e-12)
    assert stats.std == pytest.approx(x.std(), rel=1e-12, abs=1e-12)
    assert (stats.min, stats.max) == (x.min(), x.max())
    assert stats.norm == pytest.approx(math.sqrt((x * x).sum()), rel=1e-12)
    assert stats.zeros == int((x == 0).sum())
    assert stats.non_finite == 0
    assert stats.first_non_finite is None


def test_what_is_not_finite_is_counted_and_found_and_kept_out_of_the_rest() -> None:
    tensor = torch.tensor([[1.0, 2.0], [math.nan, 3.0], [math.inf, -math.inf]])
    stats = statistics(tensor)
    assert (stats.nan, stats.positive_inf, stats.negative_inf) == (1, 1, 1)
    assert stats.first_non_finite == (1, 0)
    assert stats.mean == 2.0
    assert stats.std == pytest.approx(np.std([1, 2, 3]))
    assert text.line(tensor).endswith("2 ± 0.8165 in [1, 3], 1 NaN, 1 inf, 1 -inf")


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
def test_statistics_in_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    torch.manual_seed(2)
    tensor = torch.randn(40, 33)
    tensor[7, 5] = math.nan
    tensor = {"contiguous": tensor, "transposed": tensor.T, "strided": tensor[:, ::2]}[layout]
    tensor[9, 9] = math.inf
    whole = statistics(tensor)
    monkeypatch.setattr(pieces, "PIECE_NUMEL", 100)
    heard: list[tuple[int, int]] = []
    parts = statistics(tensor, lambda done, total: heard.append((done, total)))
    for field in dataclasses.fields(whole):
        if field.name != "first_non_finite":
            assert getattr(parts, field.name) == pytest.approx(getattr(whole, field.name), rel=1e-12)
    first = np.argwhere(~np.isfinite(tensor.numpy()))[0]
    assert parts.first_non_finite == tuple(first)
    assert len(heard) >= tensor.numel() / 100
    assert heard == sorted(set(heard))
    assert {total for _, total in heard} == {tensor.numel()}


def test_a_tensor_without_a_finite_element_still_has_a_line() -> None:
    assert text.line(torch.full((3,), math.nan)) == "float32 [3] cpu · 3 NaN"


@pytest.mark.parametrize(
    ("tensor", "line"),
    [
        (torch.tensor([1.0, 2.0, 3.0]), "float32 [3] cpu · 2 ± 0.8165 in [1, 3]"),
        (torch.tensor(0.1), "0.1 · float32 [] cpu"),
        (torch.zeros(0, 4), "float32 [0, 4] cpu empty"),
        (torch.zeros(2, device="meta"), "float32 [2] meta"),
        (torch.zeros(2, dtype=torch.complex64), "complex64 [2] cpu"),
        (torch.tensor(1 + 2j), "(1+2j) · complex64 [] cpu"),
        (torch.eye(2).to_sparse(), "float32 [2, 2] cpu sparse_coo"),
        (torch.zeros(200, 200), "float32 [200, 200] cpu"),
        (torch.ones(2, dtype=torch.float8_e4m3fn), "float8_e4m3fn [2] cpu · 1 ± 0 in [1, 1]"),
        (torch.tensor([[3, 1], [2, 0]]), "int64 [2, 2] cpu · [[3, 1], [2, 0]]"),
        (torch.arange(100), "int64 [100] cpu · in [0, 99]"),
        (torch.tensor([True, False]), "bool [2] cpu · 1 of 2 true"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tensor_is_one_line(tensor: Tensor, line: str) -> None:
    assert text.line(tensor) == line


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_elements_are_written_with_the_digits_that_tell_them_apart(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    values = torch.randn(200).to(dtype)
    back = torch.tensor([float(shown) for shown in text.numbers(values)], dtype=torch.float64).to(dtype)
    assert torch.equal(back, values)


def test_pages_of_a_large_tensor_are_views_of_the_first_axis() -> None:
    tensor = torch.arange(10_000_000, dtype=torch.float32).reshape(-1, 2)
    row = describe("x", tensor)
    assert row.children is not None
    assert row.children.indexed == 5_000_000
    page = row.children.indexed_rows(4_000_000, 2)
    assert [r.name for r in page] == ["[4000000]", "[4000001]"]
    assert page[0].children is not None
    assert [float(r.value) for r in page[0].children.indexed_rows(0, 10)] == [8_000_000, 8_000_001]


def test_names_of_children_are_the_same_whatever_the_shape() -> None:
    for tensor in (torch.zeros(2), torch.zeros(3, 4)):
        row = describe("x", tensor)
        assert row.children is not None
        assert [r.name for r in row.children.named_rows()] == ["statistics", "axes", "shape", "dtype", "device"]


def test_an_object_that_raises_when_it_is_touched_is_a_row_with_the_error() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("do not look")

    assert describe("x", Hostile()).value == "<RuntimeError: do not look>"
