"""A new prompt for a model that is loaded: from `restart` to the next stop, beside starting anew."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import sessions
from benchmarks.measure import Row, ms, percentile

PROMPTS = ("The capital of Spain is", "Repeat: red lamp tree. Again:")


def run(quick: bool) -> Iterator[Row]:
    loading, restarting = [], []
    for _ in range(1 if quick else 3):
        began = time.perf_counter()
        with sessions.ours() as client:
            loading.append(time.perf_counter() - began)
            for i in range(2 if quick else 20):
                launch = {**sessions.LAUNCH, "prompt": PROMPTS[i % len(PROMPTS)]}
                began = time.perf_counter()
                client.restart(**launch)
                client.wait_for_stop()
                restarting.append(time.perf_counter() - began)
    measured = f"p50 {ms(percentile(restarting, 50))}, p99 {ms(percentile(restarting, 99))}"
    beside = f"process start, imports and loading to the first stop {ms(percentile(loading, 50))}"
    yield Row("restart with a new prompt to its first stop", measured, beside)
