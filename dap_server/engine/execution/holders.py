"""State that models and logits processors keep on themselves, outside the cache.

Attributes and buffers of modules are watched: dynamic rotary embeddings change theirs with the length, recurrent models
keep their state there, some rescale their weights' helpers. Parameters belong to edits, not to the run.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

_OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has: hooks, training flag, the dictionaries of parameters and submodules."""

STATEFUL_PROCESSORS = frozenset(
    {"UnbatchedClassifierFreeGuidanceLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor"}
)
"""Of transformers' logits processors, those that remember earlier steps."""

_TRUSTED_MODULES = ("transformers.generation.logits_process", "transformers.generation.stopping_criteria")


class Holders:
    """The objects of one generation whose attributes may change from step to step."""

    def __init__(self, model: nn.Module, others: Iterable[object]) -> None:
        """`others`: logits processors and stopping criteria."""
        self._modules = [vars(module) for module in model.modules()]
        self._buffers = [module._buffers for module in model.modules() if module._buffers]
        self._others = [vars(other) for other in others if _may_remember(other)]
        self._shared: dict[int, Any] = {id(module): module for module in model.modules()}
        self._shared |= {id(p): p for p in model.parameters()}
        self._shared |= {id(c): c for m in model.modules() if (c := getattr(m, "config", None)) is not None}
        self._watched = [
            (held, [name for name in held if name not in _OWN])
            for module, held in zip(model.modules(), self._modules, strict=True)
            if not type(module).__module__.startswith("torch.nn.modules.")
        ]
        self._seen = self._fingerprint()
        self._moved = False

    @property
    def change_every_step(self) -> bool:
        """Whether there are objects whose insides cannot be watched cheaply."""
        return bool(self._others)

    def have_changed(self) -> bool:
        """Whether an attribute or buffer is another object, or was written to, since this was last asked."""
        now = self._fingerprint()
        changed = self._moved or now != self._seen
        self._seen, self._moved = now, False
        return changed

    def copy(self) -> list[dict[str, Any]]:
        """All of it by value; modules, parameters and configurations inside stay the objects they are."""
        self._moved = self._moved or self._fingerprint() != self._seen
        state = [{k: _by_value(v) for k, v in held.items() if k not in _OWN} for held in self._modules]
        buffers = [{k: _by_value(v) for k, v in held.items()} for held in self._buffers]
        return [*state, *buffers, *copy.deepcopy(self._others, dict(self._shared))]

    def restore(self, saved: list[dict[str, Any]], is_present: bool = False) -> None:
        """Puts back what `copy` gave; it can be put back again. `is_present` after a look at the past."""
        modules, buffers = len(self._modules), len(self._buffers)
        for held, values in zip(self._modules, saved[:modules], strict=True):
            for name in [k for k in held if k not in _OWN and k not in values]:
                del held[name]
            held.update({k: _by_value(v) for k, v in values.items()})
        for held, values in zip(self._buffers, saved[modules : modules + buffers], strict=True):
            held.update({k: _by_value(v) for k, v in values.items()})
        for held, values in zip(
            self._others, copy.deepcopy(saved[modules + buffers :], dict(self._shared)), strict=True
        ):
            held.clear()
            held.update(values)
        self._seen = self._fingerprint()
        self._moved = self._moved and is_present

    def _fingerprint(self) -> list[Any]:
        """Equal for equal states. Identities stand for objects, and versions for what is written into tensors."""
        marks: list[Any] = []
        for held, names in self._watched:
            marks.append(len(held))
            marks.extend(map(id, map(held.get, names)))
        for buffers in self._buffers:
            marks.extend((id(b), _version(b)) for b in buffers.values() if b is not None)
        return marks


def _by_value(value: Any) -> Any:
    """A copy of what a step can change in place; anything but tensors and plain containers is the object itself."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else value.detach().clone()
    if type(value) is dict:
        return {k: _by_value(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_by_value(v) for v in value)
    return value


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _may_remember(processor: object) -> bool:
    kind = type(processor)
    return kind.__module__ not in _TRUSTED_MODULES or kind.__name__ in STATEFUL_PROCESSORS
