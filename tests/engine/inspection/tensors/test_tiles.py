"""Pages of numbers as bytes: decoded with NumPy alone, and held against blocks that a plain loop finds."""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import tiles
from dap_server.engine.inspection.tensors.tiles import Dtype, Reduction, Tile, tile
from dap_server.engine.requests.tiles import tile_body


def decode(made: Tile) -> np.ndarray[Any, np.dtype[np.float64]]:
    """As a client reads a tile from the wire."""
    body = msgspec.json.decode(msgspec.json.encode(tile_body(made)))
    codes = np.frombuffer(base64.b64decode(body["data"]), np.dtype(body["dtype"]).newbyteorder("<"))
    numbers = codes.astype(np.float64) * body.get("scale", 1.0)
    if body["dtype"] == "uint8":
        numbers[codes == 255] = math.nan
    shaped: np.ndarray[Any, np.dtype[np.float64]] = numbers.reshape(body["shape"])
    return shaped


def in_a_loop(values: Tensor, blocks: tuple[int, ...], reduction: Reduction) -> np.ndarray[Any, np.dtype[np.float64]]:
    x = values.double().numpy().reshape(-1, values.shape[-1])
    down, across = (1, *blocks)[-2:]
    rows = []
    for i in range(0, x.shape[0], down):
        row = []
        for j in range(0, x.shape[1], across):
            block = x[i : i + down, j : j + across].ravel()
            ordered = sorted(block, key=lambda x: x if reduction == "maximum" else (abs(x), x))
            row.append(math.nan if np.isnan(block).any() else ordered[-1])
        rows.append(row)
    return np.array(rows).reshape((-1, len(rows[0])) if values.dim() == 2 else (-1,))


@pytest.mark.parametrize("shape", [(5, 7), (1, 9), (12,), (0, 3), (0,)], ids=str)
def test_what_fits_is_sent_as_it_is(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    made = tile(values)
    assert (made.blocks, made.reduction, made.scale) == ((1,) * len(shape), None, 1.0)
    assert np.array_equal(decode(made), values.numpy())


@pytest.mark.parametrize("piece", [8, 100, 1 << 20], ids=lambda n: f"pieces of {n}")
@pytest.mark.parametrize("reduction", ["magnitude", "maximum"])
@pytest.mark.parametrize("shape", [(40, 33), (3, 500), (500, 3), (1001,), (41, 41)], ids=str)
def test_what_does_not_is_made_of_blocks(
    shape: tuple[int, ...], reduction: Reduction, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "PIECE_NUMEL", piece)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values.view(-1)[7], values.view(-1)[100] = math.nan, -math.inf
    for max_cells in (1, 10, 64, 100):
        made = tile(values, max_cells, reduction=reduction)
        assert math.prod(made.shape) <= max_cells
        assert made.reduction == reduction
        assert np.array_equal(decode(made), in_a_loop(values, made.blocks, reduction), equal_nan=True)


def test_a_transposed_view_is_pooled_as_it_is_seen() -> None:
    values = torch.arange(600.0).reshape(20, 30).T
    made = tile(values, 50)
    assert np.array_equal(decode(made), in_a_loop(values, made.blocks, "magnitude"))


@pytest.mark.parametrize("factor", [1.0, 1e-12, 1e30], ids=str)
def test_float16_has_the_digits_of_float16_whatever_the_magnitude(factor: float) -> None:
    values = torch.randn(30, 30, generator=torch.Generator().manual_seed(2)) * factor
    values[3, 4], values[5, 6] = math.nan, math.inf
    shown, wanted = decode(tile(values, dtype="float16")), values.double().numpy()
    assert math.isnan(shown[3, 4])
    assert shown[5, 6] == math.inf
    assert np.allclose(shown, wanted, rtol=2**-11, atol=factor * 1e-6, equal_nan=True)


def test_uint8_is_off_by_half_a_step_at_most_and_marks_what_is_masked() -> None:
    weights = torch.softmax(torch.randn(9, 20, generator=torch.Generator().manual_seed(3)), -1)
    weights[4] = math.nan
    made = tile(weights, dtype="uint8")
    shown, wanted = decode(made), weights.double().numpy()
    assert np.isnan(shown[4]).all()
    assert np.nanmax(np.abs(shown - wanted)) <= made.scale / 2 + 1e-9
    with pytest.raises(ValueError, match="from 0 on"):
        tile(-weights, dtype="uint8")


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_zeros_stay_zeros(dtype: Dtype) -> None:
    assert (decode(tile(torch.zeros(3, 3), dtype=dtype)) == 0).all()


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.float8_e5m2, torch.float8_e4m3fn, torch.int64, torch.bool], ids=str
)
def test_every_real_dtype_can_be_pooled(dtype: torch.dtype) -> None:
    values = (torch.randn(20, 20, generator=torch.Generator().manual_seed(4)) * 3).to(dtype)
    made = tile(values, 16)
    assert np.allclose(decode(made), in_a_loop(values, made.blocks, "magnitude"))


def test_work_on_a_large_tensor_can_be_cancelled() -> None:
    def enough() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        tile(torch.zeros(1, 1).expand(1 << 15, 1 << 15), 100, between=enough)
