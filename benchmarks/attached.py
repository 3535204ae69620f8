"""A debugger is attached and nothing is armed: against plain `generate`."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Row, best, best_ratio, compared, judged, ms
from benchmarks.subjects import Subject, atlas, llama, tiny

BAR = 1.01


def run(quick: bool) -> Iterator[Row]:
    if quick:
        yield _row("tiny model", tiny(), 2)
        return
    yield _row("12 layers, width 768, 32,000 tokens", llama(), 20)
    yield _row("example model", atlas(), 60)


def _row(name: str, subject: Subject, repeats: int) -> Row:
    laps = subject.laps((), repeats)
    token = ms(best(laps, "plain") / subject.tokens)
    return judged(
        f"attached, nothing armed: {name}",
        compared(laps, "attached", "plain"),
        f"plain twice {compared(laps, 'again', 'plain')}; {token} a token",
        f"≤ {BAR}×",
        best_ratio(laps, "attached", "plain") <= BAR,
    )
