"""A corpus of broken models and inputs: the filter that has to stop the run, where, and what it has to say.

Every fault runs with all filters on, as they are without a condition of one's own. What is found is printed at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from dap_server.conditions import FILTERS
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
    faults = [result for result in _results if result.fault is not None]
    healthy = [result for result in _results if result.fault is None]
    caught = [result for result in faults if result.found is not None and result.found == result.fault.expected]
    lines = [f"{'filter':16} {'faults':>6} {'found':>6} {'wrong':>6} {'precision':>9} {'recall':>7}"]
    for id in FILTERS:
        meant = [
            r for r in faults if r.fault is not None and r.fault.expected is not None and r.fault.expected.filter == id
        ]
        right = [r for r in caught if r.found is not None and r.found.filter == id]
        said = [r for r in _results if r.found is not None and r.found.filter == id]
        lines.append(
            f"{id:16} {len(meant):6} {len(right):6} {len(said) - len(right):6} "
            f"{_share(len(right), len(said)):>9} {_share(len(right), len(meant)):>7}"
        )
    said_all = sum(result.found is not None for result in _results)
    lines.append(
        f"{'all':16} {len(faults):6} {len(caught):6} {said_all - len(caught):6} "
        f"{_share(len(caught), said_all):>9} {_share(len(caught), len(faults)):>7}"
    )
    lines += [f"not seen: {r.fault.name}: {r.fault.missed}" for r in faults if r.fault is not None and r.found is None]
    stops = sum(result.found is not None for result in healthy)
    lines.append(f"healthy: {len(healthy)} runs, {sum(r.tokens for r in healthy):,} tokens, {stops} stops")
    report("seeded faults", lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
