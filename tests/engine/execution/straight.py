"""What a run without the debugger makes: every argument and output of every module call, seen by plain torch hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria, StoppingCriteriaList, set_seed

from dap_server.modelmap.places import Place
from tests.models.tiny import PAD, VOCABULARY

Ask = Callable[[], dict[str, Any]]
"""Makes the arguments of one `generate` call: anew every time, since caches and streamers remember."""

SEED = 11


@dataclass
class Straight:
    """One undisturbed `generate` call.

    Attributes:
        result: what it returned.
        seen: by place, `(args, kwargs)` before a module and its output after it, cloned; in the order of the run.
        before: the same of what `generate` calls before the first step, an encoder.
        tokens: (B,) per step.
        random: torch's state afterwards.
    """

    result: Any = None
    seen: dict[Place, Any] = field(default_factory=dict)
    before: dict[Place, Any] = field(default_factory=dict)
    tokens: list[Tensor] = field(default_factory=list)
    random: Tensor = field(default_factory=torch.get_rng_state)

    @property
    def steps(self) -> int:
        return len(self.tokens)

    def modules_of(self, step: int) -> list[Place]:
        """Places after the modules that a step calls, in order."""
        return [place for place in self.seen if place.step == step and place.phase == "after"]


class _EndOfStep(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Is asked once at the end of every step; never stops."""

    def __init__(self, straight: Straight, forget: Callable[[], None]) -> None:
        self._straight, self._forget = straight, forget

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        self._straight.tokens.append(input_ids[:, -1].clone())
        self._forget()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def asking(options: dict[str, Any], batch: int = 1, steps: int = 10) -> Ask:
    """Arguments of `generate` for a prompt (B, 6) of random tokens, left-padded when it is a batch."""
    ids = torch.randint(3, VOCABULARY, (batch, 6), generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(ids)
    for row in range(1, batch):
        ids[row, : 2 * row - 1], mask[row, : 2 * row - 1] = PAD, 0
    common = {"max_new_tokens": steps, "disable_compile": True, "eos_token_id": None}
    return lambda: {"input_ids": ids.clone(), "attention_mask": mask.clone(), **common, **options}


def run_straight(model: Any, ask: Ask) -> Straight:
    """Runs `generate` from the tests' seed."""
    straight = Straight()
    options = ask()
    counts: dict[str, int] = {}
    own = _EndOfStep(straight, counts.clear)
    criteria = StoppingCriteriaList([*options.pop("stopping_criteria", []), own])
    set_seed(SEED)
    with _hooked(model, straight, counts):
        straight.result = model.generate(**options, stopping_criteria=criteria)
    straight.random = torch.get_rng_state()
    return straight


def run_straight_by_calls(model: Any, call: Callable[[], Any]) -> Straight:
    """Runs a call that decodes in another loop: every call of the whole model is a step of it."""
    straight = Straight()
    with _hooked(model, straight, {}, by_calls=True):
        straight.result = call()
    straight.random = torch.get_rng_state()
    return straight


@contextmanager
def _hooked(model: nn.Module, straight: Straight, counts: dict[str, int], by_calls: bool = False) -> Iterator[None]:
    """By calls, an encoder that runs before the first call of the whole model belongs to its step."""
    open_calls: list[tuple[dict[Place, Any], Place]] = []
    counts_before: dict[str, int] = {}
    calls = 0

    def before(path: str, args: Any, kwargs: Any) -> None:
        nonlocal calls
        if path == "":
            calls += 1
        if path == "" and by_calls and calls > 1:
            counts.clear()
        seen, counted = (straight.seen, counts) if calls or by_calls else (straight.before, counts_before)
        counted[path] = counted.get(path, -1) + 1
        place = Place(max(calls - 1, 0) if by_calls else straight.steps, path, "before", counted[path])
        open_calls.append((seen, place))
        seen[place] = cloned((args, kwargs))

    def after(path: str, output: Any) -> None:
        seen, place = open_calls.pop()
        assert place.path == path
        seen[place._replace(phase="after")] = cloned(output)

    handles = []
    for path, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(lambda _m, a, k, p=path: before(p, a, k), with_kwargs=True),
            module.register_forward_hook(lambda _m, _a, output, p=path: after(p, output)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def cloned(value: Any) -> Any:
    """The tensors and plain numbers of a value, by value; what else there is, caches above all, is left out."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: cloned(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cloned(item) for item in value]
    return value if isinstance(value, (int, float, str, bool)) else None


def same(a: Any, b: Any) -> bool:
    """Whether two values agree to the last bit; NaN equals NaN."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return torch.equal(a, b) or (a.is_floating_point() and bool(((a == b) | (a.isnan() & b.isnan())).all()))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def returned(result: Any) -> Any:
    """What `generate` returned, its cache as the tensors in it."""
    if isinstance(result, Tensor):
        return result
    return {name: state_of(value) if name == "past_key_values" else value for name, value in result.items()}


def state_of(value: Any, depth: int = 6) -> Any:
    """Everything that an object holds, by value, through its attributes: of a cache, a logits processor."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {str(name): state_of(item, depth) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [state_of(item, depth) for item in value]
    if isinstance(value, (nn.Module, type)) or depth == 0 or not hasattr(value, "__dict__") or callable(value):
        return value if isinstance(value, (int, float, str, bool)) else None
    return {name: state_of(item, depth - 1) for name, item in vars(value).items() if name != "config"}
