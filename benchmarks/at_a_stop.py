"""What an editor asks at every stop, 20 evaluates at once, and going on to the next stop; through real processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks import sessions
from benchmarks.measure import Row, Times, judged, ms, percentile, rounds
from dap_server.terminal.client import Client

ROUND_TRIP_BAR = 0.002
EVALUATES_BAR = 0.100
EXPRESSION = "sum(range(1000))"


def run(quick: bool) -> Iterator[Row]:
    with sessions.both() as clients:
        round_trips = {name: _round_trips(client) for name, client in clients.items()}
        for request in round_trips["ours"]:
            times = _timed({name: calls[request] for name, calls in round_trips.items()}, 2 if quick else 250)
            is_met = percentile(times["ours"], 50) < ROUND_TRIP_BAR
            yield judged(f"`{request}` at a stop", *_tails(times), f"p50 < {ms(ROUND_TRIP_BAR)}", is_met)
        count = 3 if quick else 20
        evaluates = {name: partial(_evaluate, client, client.top_frame().id, count) for name, client in clients.items()}
        times = _timed(evaluates, 1 if quick else 10)
        is_met = percentile(times["ours"], 50) < EVALUATES_BAR
        yield judged(f"{count} evaluates sent at once", *_tails(times), f"< {ms(EVALUATES_BAR)}", is_met)
        times = _timed({name: partial(_go_on, client) for name, client in clients.items()}, 2 if quick else 250)
        yield Row("`continue` to the next stop", *_tails(times))
    yield from _at_a_line(quick)


def _at_a_line(quick: bool) -> Iterator[Row]:
    """The same at a line of Python, in both."""
    with sessions.at_a_line() as mine, sessions.debugpys() as theirs:
        round_trips = {"ours": _round_trips(mine), "debugpy": _round_trips(theirs)}
        for request in round_trips["ours"]:
            times = _timed({name: calls[request] for name, calls in round_trips.items()}, 2 if quick else 250)
            is_met = percentile(times["ours"], 50) < ROUND_TRIP_BAR
            yield judged(f"`{request}` at a line of Python", *_tails(times), f"p50 < {ms(ROUND_TRIP_BAR)}", is_met)


def _timed(calls: Mapping[str, Callable[[], object]], repeats: int) -> Times:
    times: Times = {name: [] for name in calls}
    for _, name in rounds(calls, repeats):
        began = time.perf_counter()
        calls[name]()
        times[name].append(time.perf_counter() - began)
    return times


def _round_trips(client: Client) -> dict[str, Callable[[], Any]]:
    frame = client.top_frame().id
    first = client.scopes(frame)[0].variables_reference
    return {
        "threads": client.threads,
        "stackTrace": partial(client.stack_trace, start=0, levels=20),
        "scopes": partial(client.scopes, frame),
        "variables": partial(client.variables, first),
    }


def _evaluate(client: Client, frame: int, count: int) -> None:
    arguments = {"expression": EXPRESSION, "frameId": frame, "context": "watch"}
    for reply in [client.request("evaluate", arguments) for _ in range(count)]:
        reply.result(client.timeout)


def _go_on(client: Client) -> None:
    client.continue_()
    client.wait_for_stop()


def _tails(times: Times) -> tuple[str, str]:
    ours, theirs = (f"p50 {ms(percentile(t, 50))}, p99 {ms(percentile(t, 99))}" for t in times.values())
    return ours, f"debugpy {theirs}"
