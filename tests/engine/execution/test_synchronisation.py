"""How often a step waits for the device: with filters and conditions armed as often as without, on a CPU as a proxy.

What waits on a GPU is seen here as the operations and methods that bring a value to the host. `tests/gpu/` asks CUDA.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from tests.engine.execution.test_found_late import NON_FINITE, RAISES
from tests.engine.walk import PROMPTS, Walk
from tests.models.tiny import tiny_model

WAITS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal", "aten::masked_select"}
CONDITIONS = [
    Wanted(0, "*.layers.*", condition="norm > 1e9 or output.abs().max() > 1e9"),
    Wanted(0, "*.mlp", condition="output.mean() > 1e9", hit_condition="3"),
    Wanted(0, "sample", condition="entropy > 1e9"),
]
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "top_k": 20, "temperature": 0.9},
}


class Waiting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch says it of its base
    """Counts what brings values to the host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.counts: Counter[str] = Counter()
        for name in ("tolist", "cpu"):
            monkeypatch.setattr(torch.Tensor, name, self._counted(name, getattr(torch.Tensor, name)))

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            self.counts[name] += 1
            return method(tensor, *args, **kwargs)

        return called

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        if name in WAITS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def waits(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Of one call, where every value lies on a device that is not the host."""
    with monkeypatch.context() as patch:
        counting = Waiting(patch)
        patch.setattr(torch.Tensor, "is_cpu", False)
        with counting:
            call()
    return counting.counts


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_armed_steps_wait_as_often_as_others(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    asked = {"input_ids": PROMPTS, "max_new_tokens": 6, "disable_compile": True, "eos_token_id": None, **options}

    def debugged(*breakpoints: Wanted) -> Counter[str]:
        walk = Walk(Loaded(model, None))
        walk.stepper.defers = True
        placed = walk.place(*breakpoints)
        assert {b.is_deferred for b in placed} <= {True}
        found = waits(lambda: walk.generate(**asked), monkeypatch)
        assert walk.stops == []
        return found

    debugged(NON_FINITE)  # what is measured once
    plain, free = waits(lambda: model.generate(**asked), monkeypatch), debugged()
    assert free.total() <= plain.total()
    assert debugged(NON_FINITE, RAISES).total() <= free.total()
    assert debugged(NON_FINITE, RAISES, *CONDITIONS).total() <= free.total()


def test_what_waits_in_a_hook_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    asked = {"input_ids": PROMPTS, "max_new_tokens": 3, "disable_compile": True, "eos_token_id": None}
    free = waits(lambda: model.generate(**asked), monkeypatch)

    def check(_module: object, _args: object, output: torch.Tensor) -> None:
        assert not output.isnan().any()

    handle = model.model.norm.register_forward_hook(check)
    hooked = waits(lambda: model.generate(**asked), monkeypatch)
    handle.remove()
    assert hooked.total() == free.total() + 3
