"""Tensors that are not plain ones, and values that raise when they are touched: all have rows, with true numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from dap_server.engine.inspection.rows import Row
from dap_server.engine.inspection.variables import describe

FLOAT8 = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


def child(row: Row, *path: str) -> Row:
    for name in path:
        assert row.children is not None
        rows = [*row.children.named_rows(), *row.children.indexed_rows(0, 100)]
        row = next(found for found in rows if found.name == name)
    return row


def numbers(row: Row) -> list[float]:
    assert row.children is not None
    return [float(found.value) for found in row.children.indexed_rows(0, 1000)]


def everything(row: Row, depth: int = 4) -> list[Row]:
    if row.children is None or depth == 0:
        return [row]
    below = [*row.children.named_rows(), *row.children.indexed_rows(0, 3)]
    return [row, *(found for one in below for found in everything(one, depth - 1))]


@pytest.mark.parametrize("dtype", [*FLOAT8, torch.float16, torch.bfloat16], ids=str)
def test_narrow_floats_have_all_their_numbers(dtype: torch.dtype) -> None:
    width = 8 * dtype.itemsize
    codes = torch.arange(1 << width, dtype=torch.int32).to(torch.int8 if width == 8 else torch.int16)
    tensor = codes.view(dtype)
    x = np.array([float(value) for value in tensor.to(torch.float64).tolist()])
    finite = x[np.isfinite(x)]
    row = describe("x", tensor)
    assert float(child(row, "statistics", "mean").value) == pytest.approx(finite.mean(), abs=1e-9 * finite.max())
    assert float(child(row, "statistics", "std").value) == pytest.approx(finite.std(), rel=1e-8)
    assert int(child(row, "statistics", "nan").value.replace(",", "")) == np.isnan(x).sum()
    assert np.array_equal(np.array(numbers(row)[:1000], np.float32), x[:1000].astype(np.float32), equal_nan=True)


def test_complex_numbers_are_shown_with_their_parts() -> None:
    tensor = torch.complex(torch.arange(6.0).reshape(2, 3), -torch.ones(2, 3)).conj()
    row = describe("x", tensor)
    assert child(row, "[1]", "[2]").value == "(5+1j)"
    assert float(child(row, "statistics", "real", "mean").value) == 2.5
    assert float(child(row, "statistics", "imag", "max").value) == 1.0


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_quantized_tensors_show_what_they_stand_for(per: str) -> None:
    plain = torch.tensor([[0.5, -1.0, 0.25], [2.0, 0.0, -0.75]])
    if per == "tensor":
        tensor = torch.quantize_per_tensor(plain, 0.25, 3, torch.qint8)
    else:
        tensor = torch.quantize_per_channel(plain, torch.full((3,), 0.25), torch.zeros(3).long(), 1, torch.qint8)
    row = describe("x", tensor)
    assert row.value == "qint8 [2, 3] cpu quantized"
    assert [numbers(child(row, f"[{i}]")) for i in range(2)] == plain.tolist()
    assert numbers(child(row, "axes", "axis 1", "[2]")) == plain[:, 2].tolist()
    assert float(child(row, "statistics", "mean").value) == pytest.approx(plain.double().mean().item())
    assert float(child(row, "statistics", "quantiles", "50 %").value) == pytest.approx(plain.median().item(), abs=0.25)
    assert child(row, "statistics", "quantization").value.startswith(f"per_{per}_affine")


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse_coo": lambda t: t.to_sparse(),
    "sparse_csr": lambda t: t.to_sparse_csr(),
    "sparse_csc": lambda t: t.to_sparse_csc(),
    "sparse_bsr": lambda t: t.to_sparse_bsr((2, 2)),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparse_tensors_open_to_what_they_store(layout: str) -> None:
    tensor = LAYOUTS[layout](torch.eye(4) * 3)
    row = describe("x", tensor)
    assert row.value == f"float32 [4, 4] cpu {layout}"
    assert child(row, "stored").value.endswith("of 16; the others are 0")
    assert float(child(row, "values", "statistics", "norm").value) == pytest.approx(6.0)
    assert child(row, "shape").value == "[4, 4]"


@pytest.mark.filterwarnings("ignore:Sparse")
def test_uncoalesced_values_are_shown_as_they_lie() -> None:
    tensor = torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.tensor([1.0, 2.0]), (3, 3))
    assert numbers(child(describe("x", tensor), "values")) == [1.0, 2.0]
    assert not tensor.is_coalesced(), "looking has left it alone"


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_parts_of_a_nested_tensor_are_tensors() -> None:
    for layout in (torch.strided, torch.jagged):
        tensor = torch.nested.nested_tensor([torch.zeros(2, 3), torch.full((4, 3), 2.0)], layout=layout)
        row = describe("x", tensor)
        assert row.value == "float32 [2, ?, 3] cpu nested"
        assert numbers(child(row, "part 1", "[3]")) == [2.0] * 3


@pytest.mark.parametrize("values", [torch.zeros(2, 3, device="meta"), "fake", "freed", "lazy"], ids=["meta", *"fgl"])
def test_what_has_no_values_says_so(values: Tensor | str) -> None:
    if values == "fake":
        with FakeTensorMode():
            values = torch.zeros(2, 3)
    elif values == "freed":
        values = torch.ones(2, 3)
        values.untyped_storage().resize_(0)
    elif values == "lazy":
        values = nn.LazyLinear(3).weight
    shown = everything(describe("x", values))
    assert shown[0].value.startswith("float32 [")
    assert any("no values" in row.value or "given back" in row.value for row in shown)


def test_a_lazy_module_has_rows() -> None:
    row = describe("x", nn.LazyLinear(3))
    assert row.value == "LazyLinear · 0 parameters"
    assert child(row, "weight").value == "float32 [?] cpu uninitialized"


def test_inside_a_transform_the_values_below_are_shown() -> None:
    seen: list[Row] = []

    def look(x: Tensor) -> Tensor:
        row = describe("x", x)
        assert row.value.endswith("inside a torch.func transform")
        seen.append(child(row, "inside"))
        assert everything(row)
        return x.sum()

    torch.vmap(look)(torch.arange(6.0).reshape(2, 3))
    assert numbers(child(seen[0], "[1]")) == [3.0, 4.0, 5.0]
    torch.func.grad(look)(torch.arange(3.0))
    assert numbers(seen[1]) == [0.0, 1.0, 2.0]


@pytest.fixture
def two_ranks() -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("two_ranks")
def test_of_a_distributed_tensor_the_local_part_is_read() -> None:
    tensor = distribute_tensor(torch.arange(8.0).reshape(4, 2), init_device_mesh("cpu", (2,)), [Shard(0)])
    row = describe("x", tensor)
    assert row.value == "float32 [4, 2] cpu distributed"
    assert "Shard(dim=0)" in child(row, "placements").value
    assert numbers(child(row, "local", "[1]")) == [2.0, 3.0]


@pytest.mark.parametrize(
    "dtype", [torch.uint16, torch.uint32, torch.uint64, torch.bits8, torch.float4_e2m1fn_x2, torch.bits4x2], ids=str
)
def test_dtypes_without_arithmetic_have_rows(dtype: torch.dtype) -> None:
    tensor = torch.arange(8, dtype=torch.uint8).view(dtype) if dtype.itemsize == 1 else torch.arange(8).to(dtype)
    row = describe("x", tensor)
    shown = [found.value for found in row.children.indexed_rows(0, 8)] if row.children else []
    assert shown == [f"0x{i:02x}" if dtype.itemsize == 1 else str(i) for i in range(8)]
    assert everything(row)


def test_the_largest_unsigned_numbers_are_exact() -> None:
    assert child(describe("x", torch.tensor([2**64 - 1], dtype=torch.uint64)), "[0]").value == str(2**64 - 1)


def test_an_expanded_tensor_is_as_large_as_it_looks_and_takes_no_memory() -> None:
    tensor = torch.tensor([[2.0]], requires_grad=True).expand(1 << 11, 1 << 11)
    row = describe("x", tensor)
    assert child(row, "statistics", "elements").value == f"{1 << 22:,}"
    assert float(child(row, "statistics", "norm").value) == pytest.approx(math.sqrt(4 * (1 << 22)), rel=1e-8)
    assert child(row, "statistics", "requires_grad").value == "True"


def test_a_tall_thin_transposed_tensor_takes_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.arange(2.0 * (1 << 20)).reshape(2, 1 << 20).T
    assert float(child(describe("x", tensor), "statistics", "max").value) == (1 << 21) - 1


class Angry(Tensor):
    """Raises in every operation."""

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        raise RuntimeError("hands off")


def test_a_subclass_that_raises_in_every_operation_is_seen_through() -> None:
    tensor = torch.arange(3.0).as_subclass(Angry)
    row = describe("x", tensor)
    assert row.value == "float32 [3] cpu · 1 ± 0.8165 in [0, 2]"
    assert numbers(row) == [0.0, 1.0, 2.0]
    assert float(child(row, "statistics", "mean").value) == 1.0


class Shapeless(Tensor):
    @property
    def shape(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no shape")


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("do not look")

    @property  # type: ignore[misc]  # it is read-only, and raises
    def __class__(self) -> Any:
        raise RuntimeError("who asks?")


class Endless(list[int]):
    def __len__(self) -> int:
        raise SystemExit("no length")


class Moody(dict[str, int]):
    def items(self) -> Any:
        raise ValueError(Hostile())


HOSTILE: dict[str, Callable[[], object]] = {
    "shape": lambda: torch.zeros(2).as_subclass(Shapeless),
    "repr": Hostile,
    "len": Endless,
    "items": lambda: Moody(a=1),
    "in a list": lambda: [Hostile()],
    "in a dict": lambda: {"a": Endless()},
}


@pytest.mark.parametrize("made", HOSTILE)
def test_what_raises_when_it_is_touched_is_a_row_with_the_reason(made: str) -> None:
    shown = [row.value for row in everything(describe("x", HOSTILE[made]()))]
    assert any("Error" in text or "SystemExit" in text for text in shown)
