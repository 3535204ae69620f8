"""Breakpoints that never stop: on a logits processor that is not used, and with conditions that are never true."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Row, compared
from benchmarks.subjects import Subject, atlas, llama, tiny

UNUSED = "TypicalLogitsWarper"
LAYERS = "*.layers.*"
CONDITIONS = ("step > 10**6", "norm > 1e9")


def run(quick: bool) -> Iterator[Row]:
    if quick:
        subject = tiny()
        yield _unused("tiny model", subject, 2)
        yield from _conditions("tiny model", subject, 2)
        return
    large, small = llama(), atlas()
    yield _unused("12 layers", large, 10)
    yield _unused("example model", small, 60)
    yield from _conditions("12 layers", large, 10)
    yield from _conditions("example model", small, 60)


def _unused(name: str, subject: Subject, repeats: int) -> Row:
    laps = subject.laps([UNUSED], repeats)
    return Row(
        f"breakpoint on an unused logits processor: {name}",
        compared(laps, "attached", "plain"),
        f"plain twice {compared(laps, 'again', 'plain')}",
    )


def _conditions(name: str, subject: Subject, repeats: int) -> Iterator[Row]:
    for condition in CONDITIONS:
        laps = subject.laps([LAYERS], repeats, condition)
        assert not subject.stops
        yield Row(
            f"`{condition}` on every layer, never true: {name}",
            compared(laps, "attached", "plain"),
            f"plain twice {compared(laps, 'again', 'plain')}",
        )
