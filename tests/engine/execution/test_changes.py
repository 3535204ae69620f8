"""How much a value has changed, and how that is said."""

from __future__ import annotations

import math

import pytest
import torch

from dap_server.engine.execution import changes
from dap_server.engine.execution.changes import change_text, difference

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "before", "change"),
    [
        (0.75, 0.5, 0.25),
        (3, 1, 2.0),
        (True, False, 1.0),
        (NAN, NAN, 0.0),
        (NAN, 1.0, INF),
        (1.0, NAN, INF),
        (INF, INF, 0.0),
        (INF, -INF, INF),
        ("a", "a", 0.0),
        ("a", "b", INF),
        (None, 1.0, INF),
        ([1, 2], [1, 2], 0.0),
    ],
)
def test_of_numbers_and_other_values(value: object, before: object, change: float) -> None:
    assert difference(value, before) == change


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex64]
)
def test_of_tensors_it_is_the_largest(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PIECE", 7)
    before = torch.arange(60).reshape(3, 4, 5).to(dtype)
    value = before.clone()
    assert difference(value, before) == 0
    value[1, 2, 3] = 0
    value[2, 0, 0] = 0
    wide = torch.complex128 if dtype.is_complex else torch.float64
    assert difference(value.transpose(0, 2), before.transpose(0, 2)) == float(
        (value.to(wide) - before.to(wide)).abs().max()
    )


def test_nan_that_stays_is_no_change_and_nan_that_comes_or_goes_is_one() -> None:
    before = torch.tensor([1.0, NAN, INF])
    assert difference(before.clone(), before) == 0
    assert difference(torch.tensor([NAN, NAN, INF]), before) == INF
    assert difference(torch.tensor([1.0, 2.0, INF]), before) == INF
    assert difference(torch.tensor([1.5, NAN, INF]), before) == 0.5


def test_another_shape_is_a_change_and_nothing_at_all_is_none() -> None:
    assert difference(torch.zeros(2, 3), torch.zeros(2, 4)) == INF
    assert difference(torch.zeros(0, 3), torch.zeros(0, 3)) == 0


def test_a_change_is_told_in_short_numbers() -> None:
    before = torch.zeros(2, 3)
    value = before.clone()
    value[1, 0], value[1, 2] = 0.25, -1.5
    assert change_text(0.5, 0.25) == "0.25 → 0.5"
    assert change_text(0.1 + 0.2, 0.3) == "0.3 → 0.30000000000000004"
    assert change_text(0.5, None) == "is 0.5"
    assert change_text(value, before) == "2 of 6 elements, by up to 1.5, first [1, 0]: 0 → 0.25"
    assert change_text(torch.zeros(3), before) == "shape [2, 3] → [3]"
    assert change_text(value, None) == "is [2, 3] from -1.5 to 0.25"
