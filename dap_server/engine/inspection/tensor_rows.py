"""What a tensor opens to: statistics, slices along any of its axes, its parts where it has some."""

from __future__ import annotations

from torch import Tensor

from dap_server.engine.inspection.rows import Row, Rows, guarded, member
from dap_server.engine.inspection.statistics_rows import StatisticsRows
from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.axes import Axes, unnamed
from dap_server.engine.inspection.tensors.raw_bytes import Memory
from dap_server.engine.inspection.tensors.text import dtype_name, line, numbers, shape_text


def tensor_row(
    name: str, tensor: Tensor, axes: Axes, expression: str | None = None, is_live: bool = False, label: str = ""
) -> Row:
    """The row of a tensor.

    Args:
        is_live: whether the run uses this very tensor.
        label: text before its line, such as the token of its position.
    """
    value = f"{label}  {line(tensor)}" if label else line(tensor)
    if not kinds.is_readable(tensor):
        return Row(name, value, type(tensor).__name__, SpecialChildren(tensor, axes, expression), expression)
    children = TensorChildren(tensor, axes, expression, is_live)
    return Row(name, value, type(tensor).__name__, children, expression, Memory(tensor, is_live))


class Slices:
    """The slices of a tensor along one axis, in pages; the elements of one that has only that axis."""

    named = 0

    def __init__(self, tensor: Tensor, axis: int, axes: Axes, expression: str | None, is_live: bool) -> None:
        self.tensor, self.axes, self.expression, self.is_live = tensor, axes, expression, is_live
        self.axis = axis
        self.indexed = tensor.shape[axis] if tensor.dim() else 0

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        end = min(start + count, self.indexed)
        if start >= end:
            return []
        return guarded(lambda: self._page(start, end))

    def _page(self, start: int, end: int) -> list[Row]:
        tensor, label = self.tensor.detach(), self.axes.label(self.axis) or (lambda _: "")
        if tensor.dim() > 1:
            return [
                tensor_row(
                    f"[{i}]",
                    tensor.select(self.axis, i),
                    self.axes.without(self.axis, i),
                    self._at(i),
                    self.is_live,
                    label(i),
                )
                for i in range(start, end)
            ]
        texts = numbers(tensor[start:end])
        return [
            Row(f"[{i}]", f"{label(i)}  {text}".lstrip(), expression=self._at(i))
            for i, text in enumerate(texts, start=start)
        ]

    def _at(self, index: int) -> str | None:
        return member(self.expression, f"[{':, ' * self.axis}{index}]")


class TensorChildren(Slices):
    """Named: what is known about the tensor. Indexed: its first axis."""

    named = 5

    def __init__(self, tensor: Tensor, axes: Axes, expression: str | None = None, is_live: bool = False) -> None:
        super().__init__(tensor, 0, axes, expression, is_live)

    def named_rows(self) -> list[Row]:
        return guarded(self._known)

    def _known(self) -> list[Row]:
        axes = Rows(self._by_axis)
        return [
            Row("statistics", "mean, std, range, quantiles …", children=StatisticsRows(self.tensor, self.is_live)),
            Row("axes", " × ".join(self.axes.names) or "none", children=axes if self.axes.names else None),
            *facts(self.tensor),
        ]

    def _by_axis(self) -> list[Row]:
        sizes = zip(self.axes.names, self.tensor.shape, strict=True)
        return [
            Row(name, f"{size:,}", "axis", Slices(self.tensor, axis, self.axes, self.expression, self.is_live))
            for axis, (name, size) in enumerate(sizes)
        ]


def facts(tensor: Tensor) -> list[Row]:
    """What is known of every kind of tensor."""
    return [
        Row("shape", shape_text(tensor), "Size"),
        Row("dtype", dtype_name(tensor.dtype), "dtype"),
        Row("device", str(tensor.device), "device"),
    ]


class SpecialChildren(Rows):
    """A tensor whose elements cannot be read: its parts, if it has some that can, or why not."""

    def __init__(self, tensor: Tensor, axes: Axes, expression: str | None = None) -> None:
        self.tensor, self.axes, self.expression = tensor, axes, expression
        super().__init__(lambda: [*guarded(self._parts), *facts(tensor)])

    def _parts(self) -> list[Row]:
        kind = kinds.kind(self.tensor)
        parts = [self._part(name, part) for name, part in kinds.parts(self.tensor)]
        if kind.startswith("sparse"):
            stored = f"{self.tensor._nnz():,} of {self.tensor.numel():,}; the others are 0"
            return [Row("stored", stored), *parts]
        if kind == kinds.DISTRIBUTED:
            placements, mesh = str(self.tensor.placements), str(self.tensor.device_mesh)  # type: ignore[attr-defined]
            return [Row("placements", placements), Row("mesh", mesh), *parts]
        return parts or [Row("values", kinds.why_not(self.tensor))]

    def _part(self, name: str, part: Tensor) -> Row:
        return tensor_row(name, part, unnamed(part.dim()))
