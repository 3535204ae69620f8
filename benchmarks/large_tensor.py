"""A float16 tensor of 10^9 elements at a stop: its row, any page of its elements, and the statistics of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from benchmarks import sessions
from benchmarks.measure import Row, judged, ms, percentile
from dap_server.protocol.types import Variable
from dap_server.terminal.client import Client

SECONDS_BAR, BYTES_BAR = 0.100, 1_000_000
PAGE = 100


def run(quick: bool) -> Iterator[Row]:
    count = 10**6 if quick else 10**9
    with sessions.ours() as client:
        frame = client.top_frame().id
        client.evaluate(f"large = torch.zeros({count}, dtype=torch.float16)", frame)
        client.evaluate("large[::1000003] = 3.0", frame)
        reference = client.evaluate("large", frame, "watch").variables_reference
        what = f"a float16 tensor of {count:,} elements"
        looks: dict[str, Callable[[], Any]] = {
            "row": lambda: client.evaluate("large", frame, "watch"),
            "first page": lambda: _page(client, reference, 0),
            "last page": lambda: _page(client, reference, count - PAGE),
        }
        for name, look in looks.items():
            yield _judged(f"{name} of {what}", look, 2 if quick else 100)
        statistics = next(v for v in client.variables(reference, filter="named") if v.name == "statistics")
        began = time.perf_counter()
        client.request("variables", {"variablesReference": statistics.variables_reference}).result(600)
        seconds = time.perf_counter() - began
        yield Row(f"statistics of every element of {what}", ms(seconds), f"{count / seconds / 1e6:,.0f} million/s")


def _judged(what: str, look: Callable[[], Any], repeats: int) -> Row:
    times, size = [], 0
    for _ in range(repeats):
        began = time.perf_counter()
        body = look()
        times.append(time.perf_counter() - began)
        size = max(size, len(msgspec.json.encode(body)))
    is_met = percentile(times, 99) < SECONDS_BAR and size < BYTES_BAR
    measured = f"p50 {ms(percentile(times, 50))}, p99 {ms(percentile(times, 99))}"
    return judged(what, measured, f"{size:,} bytes", f"< {ms(SECONDS_BAR)}, < 1 MB", is_met)


def _page(client: Client, reference: int, start: int) -> list[Variable]:
    return client.variables(reference, filter="indexed", start=start, count=PAGE)
