"""Breakpoints that are hit, with nobody looking: what one stop costs the model thread."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Row, best, us
from benchmarks.subjects import atlas, tiny


def run(quick: bool) -> Iterator[Row]:
    subject = tiny() if quick else atlas()
    laps = subject.laps(["*.layers.*"], 2 if quick else 40)
    stop = (best(laps, "attached") - best(laps, "plain")) / subject.stops
    token = us(best(laps, "plain") / subject.tokens)
    yield Row("a stop at every layer, continued at once", f"{us(stop)} a stop", f"plain {token} a token")
