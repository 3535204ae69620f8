"""Tensors as Python and as files: what is read back is the same to the last bit."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dap_server.engine.inspection import literals
from dap_server.engine.inspection.literals import literal, tensor_literal
from dap_server.engine.inspection.tensors import pieces, saving
from dap_server.engine.inspection.tensors.axes import Axes, unnamed
from dap_server.engine.inspection.tensors.raw_bytes import UnfitTensor
from dap_server.engine.inspection.tensors.saving import save
from dap_server.engine.inspection.tensors.slicing import Pick, page
from dap_server.engine.inspection.tensors.tiles import tile
from tests.engine.inspection.tensors.test_raw_bytes import plain_bytes

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
OTHERS = [torch.int64, torch.int8, torch.uint8, torch.uint64, torch.bool, torch.complex64, torch.complex128]


def made(dtype: torch.dtype) -> Tensor:
    values = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)).abs() * 50
    if dtype.is_floating_point:
        values[0, 0], values[1, 1], values[2] = math.nan, math.inf, -values[2]
    return values.to(dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, *OTHERS], ids=str)
def test_python_makes_the_tensor_again(dtype: torch.dtype) -> None:
    tensor = made(dtype).T
    again = eval(tensor_literal(tensor), {"torch": torch})
    assert (again.dtype, again.shape) == (dtype, tensor.shape)
    assert np.array_equal(again.to(torch.complex128).numpy(), tensor.to(torch.complex128).numpy(), equal_nan=True)
    array = eval(tensor_literal(tensor, "numpy"), {"np": np})
    assert np.array_equal(array.astype(np.complex128), tensor.to(torch.complex128).numpy(), equal_nan=True)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(0, 4), torch.tensor(2.5), torch.zeros(2, 3, device="meta"), torch.zeros(2, 0, 3, dtype=torch.int8)],
    ids=["empty", "one", "meta", "empty inside"],
)
def test_shape_and_dtype_are_kept_without_elements_too(tensor: Tensor) -> None:
    again = eval(tensor_literal(tensor), {"torch": torch})
    assert (again.shape, again.dtype, again.device) == (tensor.shape, tensor.dtype, tensor.device)


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:torch.quantize_per")
def test_sparse_and_quantized_tensors_stay_so() -> None:
    sparse = torch.eye(3).to_sparse()
    assert torch.equal(eval(tensor_literal(sparse), {"torch": torch}).to_dense(), torch.eye(3))
    plain = torch.tensor([[0.5, -1.0], [2.0, 0.25]])
    for quantized in (
        torch.quantize_per_tensor(plain, 0.25, 3, torch.qint8),
        torch.quantize_per_channel(plain, torch.full((2,), 0.25), torch.zeros(2).long(), 0, torch.qint8),
    ):
        again = eval(tensor_literal(quantized), {"torch": torch})
        assert torch.equal(again.int_repr(), quantized.int_repr())


def test_tensors_inside_lists_and_dictionaries_are_written_out() -> None:
    value: dict[str, Any] = {"a": [torch.ones(2), 3], "b": (torch.zeros(1),)}
    again = eval(literal(value), {"torch": torch})
    assert torch.equal(again["a"][0], value["a"][0])
    assert again["b"] == (torch.zeros(1),)


def test_what_raises_or_holds_itself_says_so() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("do not look")

    endless: list[object] = []
    endless.append(endless)
    for value, why in (([Hostile()], "RuntimeError: do not look"), (endless, "RecursionError")):
        with pytest.raises(UnfitTensor, match=f"cannot be written out: {why}"):
            literal(value)


def test_a_long_tensor_is_not_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literals, "MOST", 10)
    with pytest.raises(UnfitTensor, match=r"11 elements is too long to write out .*save NAME PATH"):
        tensor_literal(torch.zeros(11))


@pytest.mark.parametrize("dtype", [*FLOATS, *OTHERS], ids=str)
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_files_hold_the_tensor_to_the_last_bit(
    dtype: torch.dtype, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_NUMEL", 30)
    tensor, path = made(dtype).T, tmp_path / f"x{suffix}"
    unknown = {".npy": (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2), ".safetensors": (torch.complex128,)}
    if dtype in unknown[suffix]:
        with pytest.raises(UnfitTensor, match=r"has no .*: save it"):
            save(tensor, str(path))
        assert not list(tmp_path.iterdir())
        return
    size = save(tensor, str(path))
    assert size == os.path.getsize(path)
    again = torch.from_numpy(np.load(path)) if suffix == ".npy" else load_file(path)[saving.NAME]
    assert (again.dtype, again.shape) == (dtype, tensor.shape)
    assert plain_bytes(again) == plain_bytes(tensor)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,)], ids=str)
def test_small_shapes_are_kept(shape: tuple[int, ...], tmp_path: Path) -> None:
    for suffix in (".npy", ".safetensors"):
        save(torch.ones(shape), str(tmp_path / f"x{suffix}"))
    assert np.load(tmp_path / "x.npy").shape == shape
    assert load_file(tmp_path / "x.safetensors")[saving.NAME].shape == shape


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("x.npy", "no absolute path"),
        ("{}/x.pt", r"end it in \.safetensors or \.npy"),
        ("{}/nowhere/x.npy", "there is no folder"),
        ("{}/old.npy", "is there already"),
        ("{}/folder.npy", "is a folder"),
    ],
)
def test_a_file_that_cannot_be_says_why(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "old.npy").write_text("old")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(UnfitTensor, match=reason):
        save(torch.ones(2), path.format(tmp_path))
    assert (tmp_path / "old.npy").read_text() == "old"


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_NUMEL", 10)
    path = tmp_path / "x.npy"
    path.write_text("old")

    def stop(done: int, _total: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises((InterruptedError, UnfitTensor)):
        save(torch.ones(100), str(path), overwrite=True, between=stop)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
    save(torch.ones(3), str(path), overwrite=True)
    assert np.load(path).tolist() == [1, 1, 1]


CUBE = torch.arange(24.0).reshape(2, 3, 4)
NAMED = Axes(("batch", "position", "feature"))


@pytest.mark.parametrize(
    ("slices", "values"),
    [
        ([], CUBE[0]),
        ([1], CUBE[1]),
        ([None, 2], CUBE[:, 2, :]),
        ([None, -1], CUBE[:, 2, :]),
        ([None, [1, 3], 2], CUBE[:, 1:3, 2]),
        ([1, 2], CUBE[1, 2]),
        ([1, 2, 3], CUBE[1, 2, 3].reshape(1)),
        ([None, [1, 1], 0], CUBE[:, 1:1, 0]),
    ],
    ids=str,
)
def test_a_page_is_what_was_picked(slices: list[Pick | None], values: Tensor) -> None:
    assert torch.equal(page(CUBE, NAMED, slices).values, values)


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
@pytest.mark.parametrize("slices", [[], [1], [None, 2], [[1, 3], [0, 2]], [2, [1, 3]], [2, 3]], ids=str)
@pytest.mark.parametrize("channels", [None, 0, 1], ids=["one scale", "a scale for each row", "for each column"])
def test_a_page_of_a_quantized_tensor_is_what_it_stands_for(channels: int | None, slices: list[Pick | None]) -> None:
    plain = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    tensor = torch.quantize_per_tensor(plain, 0.05, 3, torch.qint8)
    if channels is not None:
        scales = torch.arange(1, plain.shape[channels] + 1) * 0.05
        tensor = torch.quantize_per_channel(plain, scales, torch.zeros_like(scales).long(), channels, torch.qint8)
    found, expected = (page(given, unnamed(2), slices).values for given in (tensor, tensor.dequantize()))
    assert torch.equal(found, expected)
    assert tile(found).data == expected.numpy().tobytes()


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        ([2], "index 2 is outside of batch, which has 2"),
        ([None, None, None], "more than two axes are left"),
        ([0, 0, 0, 0], "4 slices are more than the tensor has axes, 3"),
        ([[1, 3]], r"\[1, 3\] is no \[start, end\] within batch"),
        ([[1, 2, 3]], "is no"),
    ],
    ids=str,
)
def test_slices_that_do_not_fit_say_why(slices: list[Pick | None], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        page(CUBE, NAMED, slices)
