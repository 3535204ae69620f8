"""Timing things side by side on a machine that others use too, and the table that tells of it."""

from __future__ import annotations

import gc
import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

Times = dict[str, list[float]]
"""Seconds by case, one per round."""
Laps = dict[str, list[list[float]]]
"""Seconds by case, one list per round: of the pieces of a run, the same pieces in every round and case."""


PROCESSOR = "BENCHMARKS_TAKE_PROCESSOR_TIME"
"""Set in the environment, here and for children, where laps are timed by the processor and not by the clock."""


def now() -> float:
    """Seconds, to be subtracted. Those of the processor leave out how long others had it, and any waiting."""
    return time.process_time() if PROCESSOR in os.environ else time.perf_counter()


def rounds(cases: Iterable[str], repeats: int) -> Iterator[tuple[int, str]]:
    """Every case once per round, in an order that is drawn anew each time: nobody profits from coming first."""
    order, draw = list(cases), random.Random(0)
    for i in range(repeats):
        draw.shuffle(order)
        for case in order:
            yield i, case


def interleaved(cases: Mapping[str, Callable[[], list[float]]], repeats: int) -> Laps:
    """The laps that each case measured in each round, after a first one that does not count."""
    laps: Laps = {name: [] for name in cases}
    gc.collect()
    gc.freeze()  # so that collecting the garbage of one case before the next takes no time
    for i, name in rounds(cases, repeats + 1):
        gc.collect()
        seconds = cases[name]()
        if i > 0:
            laps[name].append(seconds)
    gc.unfreeze()
    return laps


def best(laps: Laps, case: str) -> float:
    """Seconds of a run that nobody disturbed: of every lap the fastest, since a whole run is hardly ever left alone."""
    return math.fsum(min(lap) for lap in zip(*laps[case], strict=True))


def best_ratio(laps: Laps, case: str, base: str) -> float:
    return best(laps, case) / best(laps, base)


def paired_ratio(laps: Laps, case: str, base: str) -> float:
    """Median of the ratios of each round: what slows a whole round down does not count."""
    return statistics.median(sum(a) / sum(b) for a, b in zip(laps[case], laps[base], strict=True))


def compared(laps: Laps, case: str, base: str) -> str:
    return f"{best_ratio(laps, case, base):.3f}× (median {paired_ratio(laps, case, base):.3f}×)"


def percentile(seconds: Sequence[float], percent: int) -> float:
    """The smallest that at least so many of a hundred do not exceed."""
    return sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1]


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.{0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2}f} ms"


def us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        beside: what was measured next to it in the same run.
        verdict: "" where there is no bar.
    """

    what: str
    measured: str
    beside: str = ""
    bar: str = ""
    verdict: str = ""


def judged(what: str, measured: str, beside: str, bar: str, is_met: bool) -> Row:
    return Row(what, measured, beside, bar, "met" if is_met else "**missed**")


def table(rows: Iterable[Row]) -> str:
    """Markdown whose columns stand under each other."""
    header = ("what", "measured", "beside it, in the same run", "bar", "verdict")
    lines = [header, *(astuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def machine() -> str:
    """What the numbers depend on."""
    cores = f"{os.cpu_count()} cores of {_processor()}, torch on {torch.get_num_threads()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "debugpy"))
    clock = ", in seconds of the processor" if PROCESSOR in os.environ else ""
    return f"{cores}{clock}; {platform.system()}, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
