"""A breakpoint that is never hit: on a logits processor that the run does not use."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Row, compared
from benchmarks.subjects import Subject, atlas, llama, tiny

UNUSED = ("TypicalLogitsWarper",)


def run(quick: bool) -> Iterator[Row]:
    if quick:
        yield _row("tiny model", tiny(), 2)
        return
    yield _row("12 layers", llama(), 10)
    yield _row("example model", atlas(), 60)


def _row(name: str, subject: Subject, repeats: int) -> Row:
    laps = subject.laps(UNUSED, repeats)
    return Row(
        f"breakpoint on an unused logits processor: {name}",
        compared(laps, "attached", "plain"),
        f"plain twice {compared(laps, 'again', 'plain')}",
    )
