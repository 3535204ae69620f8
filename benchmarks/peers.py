"""The same condition on every layer, and a check for non-finite values, with other tools: against plain `generate`.

Everybody generates the same tokens on the same model, in turns. Whatever changes modules has its own, which share the
weights; debugpy, and one control, have a process of their own. What has a bar is then measured without the others, in
more rounds: after 25 of them chance was still about 0.5 percent of such a ratio, and much more where others used the
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch

from benchmarks import other_tools
from benchmarks.measure import Laps, Row, best, best_ratio, compared, interleaved, judged, ms
from benchmarks.other_process import SUBJECTS, OtherProcess, UnderDebugpy
from benchmarks.other_tools import LIMIT
from benchmarks.subjects import Subject

LAYERS = "*.layers.*"
NNSIGHT = "0.8.1"
"""As the extra `benchmarks` has it."""
BARS = {"nothing armed": 1.01, "norm > 1e9": 1.05, "nonFinite": 1.05}
ROUNDS, ROUNDS_OF_OURS = 6, 60
UNDER_DEBUGPY = f"hidden_states.norm() > {LIMIT:g}"


def run(quick: bool) -> Iterator[Row]:
    name = "tiny" if quick else "llama"
    subject = SUBJECTS[name]()
    with ExitStack() as processes:
        other = processes.enter_context(OtherProcess(name))
        traced = processes.enter_context(UnderDebugpy(name))
        cases = {**_in_this_process(subject), **_in_others(subject, other, traced)}
        laps = interleaved(cases, 1 if quick else ROUNDS)
    ours = interleaved({name: cases[name] for name in ("plain", "again", *BARS)}, 1 if quick else ROUNDS_OF_OURS)
    assert not subject.stops
    yield from _rows(subject, laps, ours)


def _in_this_process(subject: Subject) -> dict[str, Callable[[], list[float]]]:
    twin = subject.twin()
    runs: dict[str, other_tools.Run] = {
        "plain": subject.plain,
        "again": partial(subject.generated_by, twin),
        "hook on layers": other_tools.norm_hooks(subject),
        "nothing armed": subject.attached,
        "norm > 1e9": partial(subject.attached, LAYERS, condition="norm > 1e9"),
        "nonFinite": partial(subject.attached, filters=["nonFinite"]),
        "hook on leaves": other_tools.finite_hooks(subject),
        "flag on leaves": other_tools.deferred_finite_hooks(subject),
        "DebugUnderflowOverflow": other_tools.underflow_overflow(subject),
    }
    if (nnsight := other_tools.nnsight(subject)) is not None:
        runs["nnsight"] = nnsight
    return {name: subject.timed(run) for name, run in runs.items()}


def _in_others(subject: Subject, other: OtherProcess, traced: UnderDebugpy) -> dict[str, Callable[[], list[float]]]:
    text = subject.plain()
    assert torch.equal(other.run(), text), "the text is another one"
    assert torch.equal(traced.run(), text), "the text is another one"
    assert traced.stops_if("hidden_states.norm() > 0") == traced.line, "the condition is not looked at"
    return {
        "another process": other.timed,
        "debugpy": partial(traced.timed_with, None),
        "debugpy, condition": partial(traced.timed_with, UNDER_DEBUGPY),
    }


def _rows(subject: Subject, laps: Laps, ours: Laps) -> Iterator[Row]:
    layers, leaves = f"norm > {LIMIT:g} on every layer", "non-finite values"
    twice = f"plain twice {compared(ours, 'again', 'plain')}"
    elsewhere = f"plain in such a process {compared(laps, 'another process', 'plain')}"
    token = f"plain {ms(best(ours, 'plain') / subject.tokens)} a token"
    yield _ours("nothing armed: attached", "nothing armed", ours, twice)
    yield _theirs("nothing armed: debugpy attached", "debugpy", laps, elsewhere)
    yield _ours(f"{layers}: function breakpoint", "norm > 1e9", ours, token)
    yield _theirs(f"{layers}: forward hook by hand", "hook on layers", laps)
    yield _theirs(f"{layers}: nnsight", "nnsight", laps, f"nnsight {NNSIGHT}")
    yield _theirs(f"{layers}: breakpoint of debugpy", "debugpy, condition", laps, elsewhere)
    yield _ours(f"{leaves}: filter on the whole model", "nonFinite", ours, token)
    yield _theirs(f"{leaves}: forward hook by hand on every leaf", "hook on leaves", laps)
    yield _theirs(f"{leaves}: the same into a flag, read once a step", "flag on leaves", laps)
    yield _theirs(f"{leaves}: transformers' `DebugUnderflowOverflow`", "DebugUnderflowOverflow", laps)


def _ours(what: str, case: str, laps: Laps, beside: str) -> Row:
    bar = BARS[case]
    return judged(what, compared(laps, case, "plain"), beside, f"≤ {bar}×", best_ratio(laps, case, "plain") <= bar)


def _theirs(what: str, case: str, laps: Laps, beside: str = "") -> Row:
    if case in laps:
        return Row(what, compared(laps, case, "plain"), beside)
    return Row(what, f"{beside} is not installed", "pip install llm-dap[benchmarks]")
