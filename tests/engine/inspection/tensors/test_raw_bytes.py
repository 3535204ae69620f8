"""The bytes of tensors, read and written in place, against NumPy's of a contiguous copy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import raw_bytes
from dap_server.engine.inspection.tensors.raw_bytes import Memory, UnfitTensor

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.int64]
LAYOUTS = ["contiguous", "transposed", "strided", "scalar"]


def laid_out(layout: str, dtype: torch.dtype = torch.float32) -> Tensor:
    base = torch.arange(48, dtype=torch.float32).reshape(6, 8).to(dtype)
    views = {"contiguous": base, "transposed": base.T, "strided": base[1::2, ::3], "scalar": base[2, 3]}
    return views[layout]


def plain_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.int64, torch.bool]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_stretch_of_bytes_can_be_read(layout: str, dtype: torch.dtype) -> None:
    tensor = laid_out(layout, dtype)
    expected, memory = plain_bytes(tensor), Memory(tensor)
    assert memory.size == len(expected)
    for first in range(0, len(expected), 3):
        for end in (first, min(first + 1, len(expected)), min(first + 7, len(expected)), len(expected)):
            assert memory.read(first, end) == expected[first:end]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.int64, torch.uint8]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_are_written_into_the_tensor_itself(layout: str, dtype: torch.dtype) -> None:
    tensor = laid_out(layout, dtype)
    base = tensor._base if tensor._base is not None else tensor
    others = base.clone()
    expected = bytearray(plain_bytes(tensor))
    first, data = min(3, len(expected) - 1), bytes([1, 2, 3, 4, 5])[: len(expected) - 3] or b"\1"
    data = data[: len(expected) - first]
    Memory(tensor, is_live=True).write(first, data)
    expected[first : first + len(data)] = data
    assert plain_bytes(tensor) == bytes(expected)
    changed = (base.view(torch.uint8) != others.view(torch.uint8)).sum() if base.is_contiguous() else 0
    assert changed <= len(data), "nothing beside it has changed"


def test_parameters_that_learn_can_be_written() -> None:
    weight = torch.nn.Linear(2, 2).weight
    Memory(weight, is_live=True).write(4, torch.tensor([7.5]).numpy().tobytes())
    assert float(weight.detach()[0, 1]) == 7.5


def test_the_logical_values_of_a_conjugate_view_are_read() -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j]).conj()
    assert Memory(tensor).read(0, 16) == tensor.resolve_conj().numpy().tobytes()


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (Memory(torch.zeros(2)), "worked out for you"),
        (Memory(torch.zeros(1).expand(4), True), "elements share memory"),
        (Memory(torch.zeros(2, device="meta"), True), "that is meta"),
    ],
    ids=["replayed", "expanded", "meta"],
)
def test_what_the_run_would_not_notice_is_not_written(memory: Memory, reason: str) -> None:
    with pytest.raises(UnfitTensor, match=reason):
        memory.write(0, b"\1")


def test_what_has_no_bytes_cannot_be_read() -> None:
    with pytest.raises(UnfitTensor, match="has no values"):
        Memory(torch.zeros(2, device="meta")).read(0, 4)


def test_too_much_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_bytes, "AT_ONCE", 8)
    with pytest.raises(UnfitTensor, match="at most 8"):
        Memory(torch.zeros(4)).read(0, 12)
