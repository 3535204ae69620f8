"""A corpus of broken models and inputs: the filter that has to stop the run, where, and what it has to say.

Every fault runs with all filters on, as they are without a condition of one's own. What is found is printed at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from dap_server.conditions.filters import FILTERS
from dap_server.engine.anatomy.loading import Loaded
from tests.conftest import Report
from tests.faults.corpus import Fault, Found
from tests.faults.healthy import HEALTHY, LONGER, Run
from tests.faults.seeded import FAULTS
from tests.faults.watching import Watched, watched


class Result(NamedTuple):
    """What a run has come to; `fault` is None of a healthy one."""

    fault: Fault | None
    found: Found | None
    tokens: int


_results: list[Result] = []


@pytest.mark.filterwarnings("ignore")  # transformers has something to say of these too
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_stops_the_run_where_it_is(fault: Fault, atlas: Loaded) -> None:
    loaded = fault.loaded(atlas)
    watch = watched(loaded, fault.gives(loaded.tokenizer), **fault.options)
    found = watch.stopped.found if watch.stopped is not None else None
    _results.append(Result(fault, found, watch.tokens))
    assert found == fault.expected, watch.stopped
    if watch.stopped is not None:
        assert watch.stopped.filters == {watch.stopped.found.filter}
        assert fault.says in watch.stopped.text
    assert (fault.expected is None) is bool(fault.missed)


@pytest.mark.parametrize("run", [*HEALTHY, pytest.param(LONGER, marks=pytest.mark.sweep)], ids=lambda run: run.name)
def test_a_healthy_run_never_stops(run: Run, atlas: Loaded) -> None:
    loaded = run.loaded(atlas)
    watch: Watched = watched(loaded, run.gives(loaded.tokenizer), **run.options)
    _results.append(Result(None, watch.stopped.found if watch.stopped is not None else None, watch.tokens))
    assert watch.stopped is None, watch.stopped
    assert watch.tokens >= run.least


def test_there_are_enough_faults() -> None:
    assert len([fault for fault in FAULTS if fault.expected is not None]) >= 20
    assert {fault.expected.filter for fault in FAULTS if fault.expected is not None} == FILTERS.keys()


def test_what_was_found_is_told(report: Report) -> None:
    faults = [(result.fault, result.found) for result in _results if result.fault is not None]
    healthy = [result for result in _results if result.fault is None]
    lines = [f"{'filter':16} {'faults':>6} {'found':>6} {'wrong':>6} {'precision':>9} {'recall':>7}"]
    all_right = all_said = 0
    for id in FILTERS:
        meant = [fault for fault, _ in faults if fault.expected is not None and fault.expected.filter == id]
        right = sum(found is not None and found.filter == id and found == fault.expected for fault, found in faults)
        said = sum(result.found is not None and result.found.filter == id for result in _results)
        lines.append(_line(id, len(meant), right, said))
        all_right, all_said = all_right + right, all_said + said
    lines.append(_line("all", len(faults), all_right, all_said))
    lines += [f"not seen: {fault.name}: {fault.missed}" for fault, found in faults if found is None]
    stops = sum(result.found is not None for result in healthy)
    lines.append(f"healthy: {len(healthy)} runs, {sum(r.tokens for r in healthy):,} tokens, {stops} stops")
    report("seeded faults", lines)


def _line(name: str, faults: int, right: int, said: int) -> str:
    precision, recall = (f"{right / whole:.0%}" if whole else "-" for whole in (said, faults))
    return f"{name:16} {faults:6} {right:6} {said - right:6} {precision:>9} {recall:>7}"
