"""The numbers about a tensor as rows: statistics, quantiles, histogram."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from torch import Tensor

from dap_server.engine.execution import memory
from dap_server.engine.execution.stage import reporting
from dap_server.engine.inspection.rows import RAISED, Row, Rows, reason
from dap_server.engine.inspection.tensors import distribution
from dap_server.engine.inspection.tensors.distribution import BINS, PERCENTS, SAMPLE, Histogram, Summary, TooSlow
from dap_server.engine.inspection.tensors.pieces import Between, unheard
from dap_server.engine.inspection.tensors.raw_bytes import PAGE, Memory
from dap_server.protocol.errors import RequestError

BAR = 24
"""Characters of the longest bar of a histogram."""

Draw = Callable[..., list[Row]]
"""Rows of a summary; a second argument is called between pieces."""


class StatisticsRows(Rows):
    """The numbers about a tensor: worked out in one pass when they are opened, with progress, and cancellable."""

    def __init__(self, tensor: Tensor, is_live: bool = False) -> None:
        self._tensor, self._is_live = tensor, is_live
        super().__init__(self._rows)

    def _rows(self) -> list[Row]:
        tensor = self._tensor
        size = tensor.numel() * tensor.element_size()
        rows = [
            Row("elements", f"{tensor.numel():,}"),
            Row("bytes", f"{size:,}", children=MemoryPages(tensor, self._is_live) if size > PAGE else None),
            Row("requires_grad", str(tensor.requires_grad)),
            Row("contiguous", str(tensor.is_contiguous())),
        ]
        if tensor.is_quantized:
            rows.append(Row("quantization", _quantization(tensor)))
        if tensor.is_complex():
            parts = (("real", tensor.detach().real), ("imag", tensor.detach().imag))
            return [*rows, *(Row(name, "", children=StatisticsRows(part)) for name, part in parts)]
        try:
            return [*rows, *_numbers(tensor)]
        except RequestError:
            raise
        except RAISED as error:
            return [*rows, Row("values", f"<{reason(error)}>")]


def _quantization(tensor: Tensor) -> str:
    scheme = str(tensor.qscheme()).removeprefix("torch.")
    if "channel" in scheme:
        return f"{scheme}, along axis {tensor.q_per_channel_axis()}"
    return f"{scheme}, scale {tensor.q_scale():.9g}, zero point {tensor.q_zero_point()}"


def _numbers(tensor: Tensor) -> list[Row]:
    summary = Summary.of(tensor, reporting("Working out statistics"))
    stats = summary.statistics
    rows = [Row(name, f"{getattr(stats, name):.9g}") for name in ("mean", "std", "min", "max", "norm")]
    rows += [Row(name, f"{getattr(stats, name):,}") for name in ("zeros", "nan", "positive_inf", "negative_inf")]
    if stats.first_non_finite is not None:
        rows.append(Row("first non-finite", str(list(stats.first_non_finite))))
    if stats.finite:
        percents = ", ".join(map(str, PERCENTS))
        rows.append(Row("quantiles", f"{percents} %", children=Distribution(summary, quantile_rows)))
        rows.append(Row("histogram", f"{distribution.BINS} bins", children=Distribution(summary, histogram_rows)))
    return rows


class Distribution(Rows):
    """Rows that take a look at all elements again: of a sample, and marked so, when that would take too long."""

    def __init__(self, summary: Summary, draw: Draw) -> None:
        self._summary, self._draw = summary, draw
        super().__init__(self._rows)

    def _rows(self) -> list[Row]:
        try:
            return distribution.within(partial(self._draw, self._summary), reporting("Sorting elements"))
        except TooSlow:
            pass
        drawn = Summary.of(distribution.sample(self._summary.tensor))
        count = self._summary.statistics.count
        return [
            Row("sampled", f"{SAMPLE:,} of {count:,} elements, drawn at random"),
            *self._draw(drawn),
            Row("exact", "of every element: takes longer", children=Rows(self._exact)),
        ]

    def _exact(self) -> list[Row]:
        return self._draw(self._summary, reporting("Sorting elements"))


def quantile_rows(summary: Summary, between: Between = unheard) -> list[Row]:
    """`1 %` to `99 %`."""
    found = distribution.quantiles(summary, PERCENTS, between)
    return [Row(f"{percent} %", f"{value:.9g}") for percent, value in zip(PERCENTS, found, strict=True)]


def histogram_rows(summary: Summary, between: Between = unheard) -> list[Row]:
    """One row for each bin, with a bar as long as its count."""
    made = distribution.histogram(summary, BINS, between)
    bins = _bins(made, summary.tensor)
    highest, width = int(made.counts.max(initial=1)), max(map(len, bins))
    rows = []
    for i, (text, count) in enumerate(zip(bins, made.counts.tolist(), strict=True)):
        bar = "█" * round(BAR * count / highest) or ("▏" if count else "")
        rows.append(Row(f"[{i}]", f"{text:{width}}  {count:>{len(f'{highest:,}')},}  {bar}".rstrip()))
    return rows


def _bins(made: Histogram, tensor: Tensor) -> list[str]:
    """`-0.5 … -0.25`, for whole numbers `0 … 9`."""
    edges = made.edges.tolist()
    if not distribution.is_whole(tensor):
        return [f"{low:.4g} … {high:.4g}" for low, high in pairwise(edges)]
    ranges = [(int(low), int(high) - 1) for low, high in pairwise(edges)]
    return [str(low) if low == high else f"{low:,} … {high:,}" for low, high in ranges]


class MemoryPages:
    """Places in the bytes of a large tensor, for clients that count offsets in 32 bits."""

    named = 0

    def __init__(self, tensor: Tensor, is_live: bool) -> None:
        self._tensor, self._is_live = tensor, is_live
        self._size = tensor.numel() * tensor.element_size()
        self.indexed = -(-self._size // PAGE)

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        pages = range(start, min(start + count, self.indexed))
        return [self._row(page) for page in pages]

    def _row(self, page: int) -> Row:
        first, end = page * PAGE, min((page + 1) * PAGE, self._size)
        value = f"{memory.size(end - first)} from byte {first:,}"
        return Row(f"[{page}]", value, memory=Memory(self._tensor, self._is_live, first))
