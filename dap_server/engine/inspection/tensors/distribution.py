"""How the elements of a tensor are distributed: quantiles and a histogram, exact where that does not take long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import counting
from dap_server.engine.inspection.tensors.counting import Array, Counted
from dap_server.engine.inspection.tensors.pieces import Between, at, pieces, unheard
from dap_server.engine.inspection.tensors.statistics import Statistics, summarize

T = TypeVar("T")

PERCENTS = (1, 5, 25, 50, 75, 95, 99)
BINS = 20

TIME_BOX = 1.0
"""Seconds that a look may take before it makes do with a sample."""

SAMPLE = 1 << 20
"""Elements of a sample: the share of elements below one of its quantiles is off by about 0.05 %."""


class TooSlow(Exception):
    """The whole work would take longer than the time box."""


@dataclass(frozen=True)
class Summary:
    """What one pass over a tensor tells."""

    tensor: Tensor
    statistics: Statistics
    counted: Counted | None

    @classmethod
    def of(cls, tensor: Tensor, between: Between = unheard) -> Summary:
        """Raises TypeError as `statistics` does."""
        return cls(tensor, *summarize(tensor, between))


def sample(tensor: Tensor) -> Tensor:
    """Elements of a tensor drawn at random, always the same ones: (SAMPLE,). Leaves random states alone."""
    draw = torch.Generator().manual_seed(0)
    indices = torch.randint(tensor.numel(), (SAMPLE,), generator=draw).to(tensor.device)
    return at(tensor.detach(), indices)


def within(work: Callable[[Between], T], between: Between, seconds: float | None = None) -> T:
    """Work that is given up as soon as it is seen that it would take longer than the time box.

    Raises:
        TooSlow: it would.
    """
    box, began = TIME_BOX if seconds is None else seconds, time.monotonic()

    def boxed(done: int, total: int) -> None:
        between(done, total)
        elapsed = time.monotonic() - began
        if elapsed > box / 8 and elapsed * total > box * done:
            raise TooSlow

    return work(boxed)


@torch.no_grad()
def quantiles(summary: Summary, percents: Sequence[int] = PERCENTS, between: Between = unheard) -> list[float]:
    """Of the finite elements; between two of them as many percent of the way as are left over, as NumPy does."""
    last = summary.statistics.finite - 1
    if last < 0:
        return [math.nan] * len(percents)
    lower = [percent * last // 100 for percent in percents]
    ranks = sorted({rank for low in lower for rank in (low, min(low + 1, last))})
    if summary.counted is not None:
        found = _counted_at(summary.counted, ranks)
    else:
        found = dict(zip(ranks, counting.select(summary.tensor, ranks, between), strict=True))
    made = []
    for percent, low in zip(percents, lower, strict=True):
        share = percent * last % 100 / 100
        below, above = found[low], found[min(low + 1, last)]
        made.append(below * (1 - share) + above * share if below != above else below)
    return made


def _counted_at(counted: Counted, ranks: Sequence[int]) -> dict[int, float]:
    is_finite = np.isfinite(counted.values)
    values, counts = counted.values[is_finite], counted.counts[is_finite]
    order = np.argsort(values)
    upto = np.cumsum(counts[order])
    return {rank: float(values[order][np.searchsorted(upto, rank, side="right")]) for rank in ranks}


@dataclass(frozen=True)
class Histogram:
    """Counts (N,) between edges (N + 1,). A bin holds its lower edge; the last one both."""

    edges: Array
    counts: Array


@torch.no_grad()
def histogram(summary: Summary, bins: int = BINS, between: Between = unheard) -> Histogram:
    """Of the finite elements, in bins of the same width; whole numbers have bins of whole numbers."""
    if not summary.statistics.finite:
        return Histogram(np.zeros(1), np.zeros(0, np.int64))
    edges = _edges(summary, bins)
    if summary.counted is not None:
        is_finite = np.isfinite(summary.counted.values)
        values, weights = summary.counted.values[is_finite], summary.counted.counts[is_finite]
        return Histogram(edges, np.bincount(_bin(values, edges), weights, len(edges) - 1).astype(np.int64))
    inner = torch.from_numpy(edges[1:-1]).to(summary.tensor.device)
    counts = torch.zeros(len(edges) - 1, dtype=torch.int64, device=summary.tensor.device)
    for piece in pieces(summary.tensor, between):
        wide = piece.to(torch.float64)
        if summary.statistics.non_finite:
            wide = wide[wide.isfinite()]
        counts += torch.bincount(torch.bucketize(wide, inner, right=True), minlength=len(counts))
    return Histogram(edges, counts.cpu().numpy())


def _bin(values: Array, edges: Array) -> Array:
    return np.searchsorted(edges[1:-1], values, side="right")


def _edges(summary: Summary, bins: int) -> Array:
    low, high = summary.statistics.min, summary.statistics.max
    if is_whole(summary.tensor):
        width = math.ceil((high - low + 1) / bins)
        return low + width * np.arange(math.ceil((high - low + 1) / width) + 1)
    if low == high:
        return np.array([low, high])
    return np.linspace(low / 2, high / 2, bins + 1) * 2  # their distance alone may be more than a float holds


def is_whole(tensor: Tensor) -> bool:
    """Whether its elements are whole numbers, or true and false."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)
