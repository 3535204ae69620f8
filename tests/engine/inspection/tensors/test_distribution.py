"""Quantiles and histograms, each against NumPy in float64 over all elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dap_server.engine.inspection.statistics_rows import StatisticsRows
from dap_server.engine.inspection.tensors import counting, distribution, pieces
from dap_server.engine.inspection.tensors.distribution import PERCENTS, Summary, histogram, quantiles

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
SIGNED = [torch.int8, torch.int16, torch.int32, torch.int64]
UNSIGNED = [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool]


@pytest.fixture(params=["counted", "selected"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways to the same numbers: counting every value of narrow dtypes, and digit by digit for all."""
    monkeypatch.setattr(counting, "WORTH_COUNTING", 1 if request.param == "counted" else 1 << 60)
    monkeypatch.setattr(pieces, "PIECE_NUMEL", 1000)


def made(dtype: torch.dtype) -> Tensor:
    values = torch.randn(60, 51, generator=torch.Generator().manual_seed(0)) * 40
    return (values.abs() if dtype in UNSIGNED else values).to(dtype)


def reference(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    x = np.array([float(v) for v in tensor.flatten().tolist()])
    finite: np.ndarray[Any, np.dtype[np.float64]] = x[np.isfinite(x)]
    return finite


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [*FLOATS, *SIGNED, *UNSIGNED], ids=str)
def test_quantiles_and_histogram_are_those_of_all_elements(dtype: torch.dtype) -> None:
    tensor = made(dtype)
    summary, x = Summary.of(tensor), reference(tensor)
    assert quantiles(summary) == pytest.approx(np.percentile(x, PERCENTS), rel=1e-12)
    drawn = histogram(summary)
    assert drawn.edges[0] == x.min()
    assert drawn.counts.tolist() == np.histogram(x, drawn.edges)[0].tolist()
    assert drawn.counts.sum() == tensor.numel()
    stats = summary.statistics
    assert (stats.mean, stats.std) == pytest.approx((x.mean(), x.std()), rel=1e-12)
    assert (stats.min, stats.max, stats.zeros) == (x.min(), x.max(), int((x == 0).sum()))
    assert stats.norm == pytest.approx(math.sqrt((x * x).sum()), rel=1e-12)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_what_is_not_finite_is_left_out_and_found(dtype: torch.dtype) -> None:
    tensor = made(dtype).T
    tensor[3, 7], tensor[3, 6], tensor[30, 2] = math.nan, -math.inf, math.inf
    tensor[40, 0] = torch.full((), math.nan, dtype=dtype).copysign(torch.tensor(-1.0, dtype=dtype))
    summary, x = Summary.of(tensor), reference(tensor)
    assert quantiles(summary) == pytest.approx(np.percentile(x, PERCENTS), rel=1e-12)
    assert histogram(summary).counts.sum() == len(x) == summary.statistics.finite
    assert summary.statistics.first_non_finite == (3, 6)
    assert summary.statistics.negative_inf == summary.statistics.positive_inf == 1


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_quantiles_of_few_elements_lie_between_them(count: int) -> None:
    tensor = torch.arange(float(count)) ** 2
    assert quantiles(Summary.of(tensor)) == pytest.approx(np.percentile(tensor.numpy(), PERCENTS))


@pytest.mark.parametrize("tensor", [torch.zeros(0), torch.full((4,), math.nan), torch.full((5,), 2.5)], ids=str)
def test_nothing_to_sort_is_no_error(tensor: Tensor) -> None:
    summary = Summary.of(tensor)
    assert len(quantiles(summary)) == len(PERCENTS)
    assert histogram(summary).counts.sum() == summary.statistics.finite


def test_a_histogram_of_the_widest_range_overflows_nowhere() -> None:
    tensor = torch.tensor([-1.7e308, 0.0, 1.7e308], dtype=torch.float64)
    drawn = histogram(Summary.of(tensor))
    assert np.isfinite(drawn.edges).all()
    assert drawn.counts.tolist() == [1, *[0] * 9, 1, *[0] * 8, 1]


def rows_of(tensor: Tensor) -> dict[str, Any]:
    return {row.name: row for row in StatisticsRows(tensor).named_rows()}


def test_rows_show_quantiles_and_bars() -> None:
    rows = rows_of(torch.arange(100))
    shown = {row.name: row.value for row in rows["quantiles"].children.named_rows()}
    assert shown == {"1 %": "0.99", "5 %": "4.95", "25 %": "24.75", "50 %": "49.5", "75 %": "74.25"} | {
        "95 %": "94.05",
        "99 %": "98.01",
    }
    bars = rows["histogram"].children.named_rows()
    assert len(bars) == 20
    assert bars[0].value == f"0 … 4    5  {'█' * 24}"
    assert rows["requires_grad"].value == "False"


def test_what_takes_too_long_is_a_sample_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(4000, 1000, generator=torch.Generator().manual_seed(0)).expand(2, 4000, 1000)
    monkeypatch.setattr(distribution, "TIME_BOX", 0.0)
    state = torch.get_rng_state()
    opened = rows_of(tensor)["quantiles"].children.named_rows()
    assert torch.equal(torch.get_rng_state(), state)
    assert opened[0].name == "sampled"
    assert opened[0].value == "1,048,576 of 8,000,000 elements, drawn at random"
    shown = [float(row.value) for row in opened[1:-1]]
    assert shown == pytest.approx(np.percentile(tensor[0].double().numpy(), PERCENTS), abs=0.02)
    exact = [float(row.value) for row in opened[-1].children.named_rows()]
    assert exact == pytest.approx(np.percentile(tensor[0].double().numpy(), PERCENTS), abs=1e-6)
