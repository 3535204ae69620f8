"""Statistics and distribution of a tensor, or of a page of it, on the wire."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from dap_server.engine.execution.stage import reporting
from dap_server.engine.inspection.tensors import distribution
from dap_server.engine.inspection.tensors.distribution import PERCENTS, Histogram, Summary, TooSlow
from dap_server.engine.inspection.tensors.outliers import farthest
from dap_server.engine.inspection.tensors.pieces import Between, unheard
from dap_server.engine.inspection.tensors.slicing import Page
from dap_server.engine.inspection.tensors.statistics import Statistics
from dap_server.engine.requests.numbers import finite
from dap_server.protocol.llm.tensors import TensorArguments, TensorDistribution, TensorElement, TensorStatistics

BINS = 40
"""Of a histogram that is drawn: finer than the one that is written in rows."""

OUTLIERS = 8


def numbers(
    tensor: Tensor, page: Page, args: TensorArguments
) -> tuple[TensorStatistics | None, TensorDistribution | None]:
    """What is asked for, of the page or of the whole tensor."""
    if not args.statistics and not args.distribution:
        return None, None
    values = tensor.detach() if args.whole else page.values
    summary = Summary.of(values, reporting("Working out statistics"))
    stats = _statistics(summary.statistics) if args.statistics else None
    return stats, _distribution(summary, None if args.whole else page) if args.distribution else None


def _statistics(found: Statistics) -> TensorStatistics:
    return TensorStatistics(
        mean=finite(found.mean),
        std=finite(found.std),
        min=finite(found.min),
        max=finite(found.max),
        norm=finite(found.norm),
        zeros=found.zeros,
        nan=found.nan,
        positive_inf=found.positive_inf,
        negative_inf=found.negative_inf,
    )


def _distribution(summary: Summary, page: Page | None) -> TensorDistribution:
    sample: int | None = None
    try:
        quantiles, bins = distribution.within(partial(_look, summary), reporting("Sorting elements"))
    except TooSlow:
        quantiles, bins = _look(Summary.of(distribution.sample(summary.tensor)))
        sample = distribution.SAMPLE
    first = summary.statistics.first_non_finite
    return TensorDistribution(
        percents=list(PERCENTS) if summary.statistics.finite else [],
        quantiles=quantiles if summary.statistics.finite else [],
        edges=bins.edges.tolist() if len(bins.counts) else [],
        counts=bins.counts.tolist(),
        farthest=[
            TensorElement(index=_index(index, page), value=value)
            for index, value in farthest(summary.tensor, OUTLIERS, reporting("Looking for outliers"))
        ],
        first_non_finite=None if first is None else _index(first, page),
        sample=sample,
    )


def _look(summary: Summary, between: Between = unheard) -> tuple[list[float], Histogram]:
    return distribution.quantiles(summary, PERCENTS, between), distribution.histogram(summary, BINS, between)


def _index(index: tuple[int, ...], page: Page | None) -> list[int]:
    """In the whole tensor, of an index in a page of it."""
    if page is None:
        return list(index)
    inside = iter(index)
    return [pick if isinstance(pick, int) else pick[0] + next(inside) for pick in page.picks]
