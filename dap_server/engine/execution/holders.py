"""State that models and logits processors keep on themselves, outside the cache.

Attributes and buffers of modules are watched: dynamic rotary embeddings change theirs with the length, recurrent models
keep their state there, some rescale their weights' helpers. Parameters belong to edits, not to the run.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from operator import is_, itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from dap_server.engine.execution.values import held_tensors, version

OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has: hooks, training flag, the dictionaries of parameters and submodules."""

STATEFUL_PROCESSORS = frozenset(
    {"UnbatchedClassifierFreeGuidanceLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor"}
)
"""Of transformers' logits processors, those that remember earlier steps."""

_COPIED = (dict, list, tuple)
"""Containers whose items a step may replace; of other classes, objects are kept as they are."""

_TRUSTED_MODULES = ("transformers.generation.logits_process", "transformers.generation.stopping_criteria")


class _Kept(NamedTuple):
    """A tensor, and its value at that version of it."""

    tensor: Tensor
    version: int
    value: Tensor

    @property
    def is_as_it_was(self) -> bool:
        return self.version >= 0 and version(self.tensor) == self.version


class _Fingerprint(NamedTuple):
    """What tells two states apart: the objects themselves, how many, and for tensors how often they were written to."""

    objects: list[Any]
    counts: list[int]

    def is_as(self, other: _Fingerprint) -> bool:
        """Whether it is of an equal state. Objects are not compared by value: tensors have no one answer to that."""
        return self.counts == other.counts and all(map(is_, self.objects, other.objects))


@dataclass
class Snapshot:
    """What holders had at a moment. Tensors that have not changed since an earlier snapshot are shared with it.

    Attributes:
        held: attributes of modules, then their buffers.
        others: attributes of logits processors and stopping criteria.
        nbytes: of what this snapshot alone holds.
    """

    held: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    nbytes: int = 0


class _Watch:
    """Reads dictionaries of attributes, quickly: it runs every step, or every call."""

    def __init__(self, held: list[dict[str, Any]]) -> None:
        self._held = held
        self._sizes = [*map(len, held)]
        self._readers = _readers(held)

    def fingerprint(self, kept: Collection[_Kept], containers: Collection[Any]) -> _Fingerprint:
        """Of all that they have now, with these tensors and containers."""
        sizes = [*map(len, self._held)]
        try:
            if sizes != self._sizes:
                raise KeyError
            objects = [value for held, read in self._readers for value in read(held)]
        except KeyError:  # there is an attribute more, or one less
            self._readers, self._sizes = _readers(self._held), sizes
            objects = [value for held, read in self._readers for value in read(held)]
        for container in containers:
            objects += container.values() if isinstance(container, dict) else container
        return _Fingerprint(objects, [*sizes, *map(len, containers), *(version(k.tensor) for k in kept)])


class Holders:
    """The objects whose attributes may change: of one generation, from step to step; of a model, from call to call."""

    def __init__(self, model: nn.Module, others: Iterable[object] = ()) -> None:
        """`others`: logits processors and stopping criteria."""
        self._model = model
        self._survey()
        self._remember(others)

    def _survey(self) -> None:
        modules = list(self._model.modules())
        self._modules = modules
        self._trees = [(m._modules, tuple(m._modules.values())) for m in modules if m._modules]
        self._parameters = [m._parameters for m in modules if m._parameters]
        self._versions = self._parameter_versions()
        self._buffers = [m._buffers for m in modules if m._buffers]
        self._held = [vars(module) for module in modules] + self._buffers
        self._norms = [m for m in modules if isinstance(m, _NormBase) and m.track_running_stats]
        self._uncounted = {id(norm._buffers) for norm in self._norms}  # what torch counts no writes of
        self._trained = False  # whether some of them were written to since the last snapshot
        own = [vars(m) for m in modules if not type(m).__module__.startswith("torch.nn.modules.")]
        self._steps, self._calls = _Watch(own + self._buffers), _Watch(self._held)
        self._kept: dict[int, _Kept] = {}  # of the last snapshot, by identity
        self._containers: dict[int, Any] = {}  # the dictionaries and lists that the last snapshot copied
        self._lent: list[_Kept] = []  # tensors that the last restored state shares with the state before it
        self._take()

    def _remember(self, others: Iterable[object]) -> None:
        remembering = [other for other in others if _may_remember(other)]
        self._others = [vars(other) for other in remembering]
        self._names = [type(other).__name__ for other in remembering]
        self.unknown: list[str] = []
        """Classes of those whose state cannot be copied, and so stays as it is when the run goes back."""

    def _take(self) -> None:
        """What there is now is what calls and steps are compared with."""
        self._taken: list[dict[str, Any]] | None = self._copy_held()
        self._seen, self._has_moved = self._fingerprint(self._steps), False
        self._is_fresh = False  # nothing can have changed since
        self._seen_by_call = self._fingerprint(self._calls)

    def call_begins(self) -> bool:
        """A call of the model begins. Whether anything has changed since the last one did.

        Between calls a program may set attributes that no forward does, of modules of torch itself too.
        """
        if not self._is_current:
            self._survey()
            return True
        self._versions = self._parameter_versions()
        changed = bool(self._norms) or not self._fingerprint(self._calls).is_as(self._seen_by_call)
        if changed:
            self._take()
        return changed

    def of_call(self, others: Iterable[object]) -> Holders:
        """Those of a call that begins, with its logits processors and stopping criteria."""
        self.call_begins()
        call = copy.copy(self)
        call._is_fresh = True
        call._remember(others)
        return call

    @property
    def _is_current(self) -> bool:
        """Whether the model has the modules that it had, and those their buffers."""
        trees = all(tuple(children.values()) == had for children, had in self._trees)
        return trees and sum(1 for m in self._modules if m._buffers) == len(self._buffers)

    @property
    def change_every_step(self) -> bool:
        """Whether there are objects whose insides cannot be watched cheaply."""
        return bool(self._others)

    def have_changed(self) -> bool:
        """Whether an attribute or buffer is another object, or was written to, since this was last asked."""
        now = self._seen if self._is_fresh else self._fingerprint(self._steps)
        self._is_fresh = False
        trains = any(norm.training for norm in self._norms)
        changed = self._has_moved or trains or self._trained or not now.is_as(self._seen)
        self._trained = trains
        self._seen, self._has_moved = now, False
        self._taken = None if changed else self._taken
        return changed

    def copy(self) -> Snapshot:
        """All of it by value, when it has just been asked whether anything has changed.

        Modules, parameters and configurations inside stay the objects they are.
        """
        known = self._kept
        if self._taken is None:
            self._taken = self._copy_held()
        self._is_fresh = False
        snapshot = Snapshot(self._taken, self._copied(self._others))
        fresh = [kept.value for name, kept in self._kept.items() if known.get(name) is not kept]
        snapshot.nbytes = sum(t.numel() * t.element_size() for t in [*fresh, *held_tensors(snapshot.others)])
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Puts back what `copy` gave; it can be put back again.

        Flags stay as they are where a run has written to its own parameters: RWKV divides some in its first forward and
        notes it, and with the flag of before that forward they would be divided twice.
        """
        self._lent = []
        memo: dict[int, Any] = {}
        written = self._parameter_versions() != self._versions
        for held, values in zip(self._held, snapshot.held, strict=True):
            given = {k: self._given(v, memo) for k, v in values.items()}
            _put(held, given | _flags(held) if written else given)
        for held, values in zip(self._others, self._copied(snapshot.others), strict=True):
            held.clear()
            held.update(values)
        self._seen, self._has_moved, self._taken = self._fingerprint(self._steps), False, None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Leaves everything as it was found, the same objects with the same values, whatever is restored meanwhile.

        Parameters that are written to meanwhile stay so, and then flags too, as `restore` says.
        """
        changed, versions = self.have_changed(), self._parameter_versions()
        self._has_moved = changed  # for who asks meanwhile
        present = [{k: v for k, v in held.items() if k not in OWN} for held in self._held]
        others = [dict(held) for held in self._others]
        self._lent = []
        try:
            yield
        finally:
            written = self._parameter_versions() != versions
            for held, values in zip(self._held, present, strict=True):
                _put(held, values | _flags(held) if written else values)
            for held, values in zip(self._others, others, strict=True):
                held.clear()
                held.update(values)
            for lent in self._lent:
                if not lent.is_as_it_was:
                    with torch.no_grad():
                        lent.tensor.copy_(lent.value)
            self._seen, self._has_moved, self._taken = self._fingerprint(self._steps), changed, None

    def _parameter_versions(self) -> list[int]:
        return [version(p) for held in self._parameters for p in held.values() if p is not None]

    def _copy_held(self) -> list[dict[str, Any]]:
        known, self._kept, self._containers = self._kept, {}, {}
        memo: dict[int, Any] = {}
        return [
            {k: self._keep(v, known, memo, id(held) not in self._uncounted) for k, v in held.items() if k not in OWN}
            for held in self._held
        ]

    def _fingerprint(self, watch: _Watch) -> _Fingerprint:
        return watch.fingerprint(self._kept.values(), self._containers.values())

    def _keep(self, value: Any, known: dict[int, _Kept], memo: dict[int, Any], counts: bool = True) -> Any:
        """A copy of what a step can change in place; anything but tensors and plain containers is the object itself.

        `memo`: copies by identity, so that what is shared stays shared. `counts`: whether writes to it are counted.
        """
        if (type(value) not in _COPIED and not isinstance(value, Tensor)) or isinstance(value, nn.Parameter):
            return value
        if id(value) in memo:
            return memo[id(value)]
        kept: Any
        if isinstance(value, Tensor):
            kept = known.get(id(value))
            if kept is None or kept.tensor is not value or not kept.is_as_it_was:
                kept = _Kept(value, version(value) if counts else -1, value.detach().clone())
            self._kept[id(value)] = kept
        elif type(value) is dict:
            kept = {k: self._keep(v, known, memo) for k, v in value.items()}
        else:
            kept = type(value)(self._keep(v, known, memo) for v in value)
        if type(value) in (dict, list):
            self._containers[id(value)] = value
        memo[id(value)] = kept
        return kept

    def _given(self, value: Any, memo: dict[int, Any]) -> Any:
        """What was kept. A tensor that nobody has written to since is given back itself, else its value."""
        if type(value) not in _COPIED and type(value) is not _Kept:
            return value
        if id(value) in memo:
            return memo[id(value)]
        given: Any
        if type(value) is _Kept:
            given = value.tensor if value.is_as_it_was else value.value.clone()
            if given is value.tensor:
                self._lent.append(value)
        elif type(value) is dict:
            given = {k: self._given(v, memo) for k, v in value.items()}
        else:
            given = type(value)(self._given(v, memo) for v in value)
        memo[id(value)] = given
        return given

    def _copied(self, others: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A user's own object may hold what has no copy: a lock, a matcher of a compiled grammar."""
        if not self._others:
            return []
        memo = self._shared()
        copies = []
        for name, held in zip(self._names, others, strict=True):
            try:
                copies.append(copy.deepcopy(held, memo))
            except Exception:
                copies.append(dict(held))
                if name not in self.unknown:
                    self.unknown.append(name)
        return copies

    def _shared(self) -> dict[int, Any]:
        """What copies of them have in common with them."""
        parts = [*self._modules, *(p for held in self._parameters for p in held.values())]
        parts += [c for m in self._modules if (c := getattr(m, "config", None)) is not None]
        parts += [value for held in self._others for value in held.values() if _is_tool(value)]
        return {id(part): part for part in parts}


def _readers(watched: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Callable[[Any], tuple[Any, ...]]]]:
    """For each dictionary a function that gives all its values that a step may change; quick, it runs every step."""
    names = [(held, [name for name in held if name not in OWN]) for held in watched]
    return [(held, itemgetter(*some, some[0])) for held, some in names if some]  # of one name it would be no tuple


def _flags(held: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in held.items() if type(value) is bool and name not in OWN}


def _put(held: dict[str, Any], values: dict[str, Any]) -> None:
    for name in [k for k in held if k not in OWN and k not in values]:
        del held[name]
    held.update(values)


def _is_tool(value: object) -> bool:
    """Whether an attribute is large and no state: another model, a tokenizer."""
    return isinstance(value, nn.Module) or hasattr(value, "convert_tokens_to_ids")


def _may_remember(processor: object) -> bool:
    kind = type(processor)
    if not hasattr(processor, "__dict__"):
        return False
    return kind.__module__ not in _TRUSTED_MODULES or kind.__name__ in STATEFUL_PROCESSORS
