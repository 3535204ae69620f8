"""CUDA's own word on how often the host waits for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from tests.engine.execution.test_found_late import NON_FINITE, RAISES
from tests.engine.execution.test_synchronisation import CONDITIONS, OPTIONS
from tests.engine.walk import PROMPTS, Walk
from tests.models.tiny import tiny_model

pytestmark = pytest.mark.gpu


@contextmanager
def telling(mode: str) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def waits(call: Callable[[], Any]) -> int:
    with warnings.catch_warnings(record=True) as told, telling("warn"):
        warnings.simplefilter("always")
        call()
    return sum("synchronizing" in str(warning.message) for warning in told)


def armed(model: Any, *breakpoints: Wanted) -> Walk:
    walk = Walk(Loaded(model, None), breakpoints=breakpoints)
    assert all(b.is_deferred for b in walk.stepper.breakpoints.all)
    return walk


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_armed_steps_wait_as_often_as_others(options: dict[str, Any]) -> None:
    model = tiny_model("llama").cuda()
    asked = {"input_ids": PROMPTS.cuda(), "max_new_tokens": 6, "disable_compile": True, "eos_token_id": None, **options}
    armed(model, NON_FINITE).generate(**asked)  # what is measured once
    plain = waits(lambda: model.generate(**asked))
    free = waits(lambda: armed(model).generate(**asked))
    assert free <= plain
    assert waits(lambda: armed(model, NON_FINITE, RAISES).generate(**asked)) <= free
    assert waits(lambda: armed(model, NON_FINITE, RAISES, *CONDITIONS).generate(**asked)) <= free


def test_nothing_waits_within_a_forward() -> None:
    """Any wait there is an error, from the second step on: a prefill makes masks, which may wait by itself."""
    model = tiny_model("llama").cuda()
    asked = {"input_ids": PROMPTS.cuda(), "max_new_tokens": 6, "disable_compile": True, "eos_token_id": None}
    calls = [0]

    def begins(*_: object) -> None:
        calls[0] += 1
        torch.cuda.set_sync_debug_mode("error" if calls[0] > 1 else "default")

    def ends(*_: object) -> None:
        torch.cuda.set_sync_debug_mode("default")

    handles = [model.register_forward_pre_hook(begins), model.register_forward_hook(ends, always_call=True)]
    try:
        for breakpoints in ([], [NON_FINITE, RAISES], [NON_FINITE, RAISES, *CONDITIONS[:2]]):
            calls[0] = 0
            walk = armed(model, *breakpoints)
            walk.generate(**asked)
            assert walk.stops == []
    finally:
        ends()
        for handle in handles:
            handle.remove()
