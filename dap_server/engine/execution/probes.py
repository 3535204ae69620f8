"""Instruments of a replay: they see every module call of one step, from the inside."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Activation, call_frame
from dap_server.engine.execution.generation import Generation, Tape
from dap_server.engine.execution.values import by_value, tensors_in
from dap_server.modelmap.places import LOGITS, PSEUDO_MODULES, STEP, Phase

STEP_LEVEL = -1
"""The parent of what belongs to the step itself."""


class Enough(BaseException):
    """Ends a replay early: the probe has what it wants."""


class Probe(Protocol):
    """Sees module calls. `call` is the frame of `_call_impl`, whose `args` and `kwargs` are the arguments."""

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None: ...

    def ends(self, path: str, module: nn.Module, output: Any) -> None: ...


@runtime_checkable
class StepProbe(Probe, Protocol):
    """Hears of token selection too."""

    def at(self, name: str, phase: Phase) -> None: ...


class Event(NamedTuple):
    """One phase of one module call.

    Attributes:
        parent: index, in the trace, of the beginning of the call around this one; STEP_LEVEL for the step itself.
    """

    path: str
    phase: Phase
    occurrence: int
    parent: int


class Witness(Protocol):
    """Sees what a trace writes down, in the moment that it happens. What it runs itself is not written down."""

    def begins(self, index: int, event: Event, module: nn.Module, call: FrameType) -> None: ...

    def ends(self, index: int, event: Event, module: nn.Module, call: FrameType, output: Any) -> None: ...

    def at(self, index: int, event: Event) -> None:
        """A place of token selection."""
        ...


@dataclass
class TraceProbe:
    """Writes down every module call of a step, in order, and the places of our own loop between them.

    Attributes:
        witness: sees it too.
        generation: as it is in the replay, when somebody has said so.
        suspended: a call of the step that is suspended just now, to be found among those that run again.
        found: index of its beginning.
    """

    suspended: Activation | None = None
    found: int | None = None
    witness: Witness | None = None
    generation: Generation = field(default_factory=Generation)
    events: list[Event] = field(default_factory=list)
    is_deaf: bool = False
    _calls: list[FrameType] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if self.is_deaf:
            return
        occurrence = self._counts.get(path, -1) + 1
        self._counts[path] = occurrence
        if self.found is None and is_again(self.suspended, module, call):
            self.found = len(self.events)
        self._open.append(len(self.events))
        self._calls.append(call)
        event = Event(path, "before", occurrence, self._parent(-2))
        self.events.append(event)
        if self.witness is not None:
            with self._deaf():
                self.witness.begins(len(self.events) - 1, event, module, call)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if self.is_deaf:
            return
        begun, call = self.events[self._open.pop()], self._calls.pop()
        event = Event(path, "after", begun.occurrence, begun.parent)
        self.events.append(event)
        if self.witness is not None:
            with self._deaf():
                self.witness.ends(len(self.events) - 1, event, module, call, output)

    def at(self, name: str, phase: Phase) -> None:
        """The step itself begins, or a part of token selection begins or ends."""
        if phase == "after":
            occurrence = self.events[self._open.pop()].occurrence
        elif name in PSEUDO_MODULES:
            occurrence = 0
        else:
            occurrence = self._counts[name] = self._counts.get(name, -1) + 1
        if phase == "before" and name != STEP:
            self._open.append(len(self.events))
        event = Event(name, phase, occurrence, STEP_LEVEL)
        self.events.append(event)
        if self.witness is not None:
            with self._deaf():
                self.witness.at(len(self.events) - 1, event)

    @contextmanager
    def _deaf(self) -> Iterator[None]:
        """While something runs that is no part of the step."""
        outer, self.is_deaf = self.is_deaf, True
        try:
            yield
        finally:
            self.is_deaf = outer

    def run(self, tape: Tape, step: int) -> None:
        """Runs a step again to write it down."""
        tape.replay(step, self)

    def _parent(self, depth: int) -> int:
        return self._open[depth] if len(self._open) >= -depth else STEP_LEVEL


@dataclass
class Captured:
    """What went into a module call and came out of it, by value: models write into both later on."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any = None


class LastCallProbe:
    """Holds the last call of one module before a call that is suspended just now; of the whole step without one."""

    def __init__(self, path: str, suspended: Activation | None) -> None:
        self.found: Captured | None = None
        self._path, self._suspended = path, suspended

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if self.found is not None and is_again(self._suspended, module, call):
            raise Enough
        if path == self._path:
            self.found = Captured(by_value(tuple(call.f_locals["args"])), by_value(dict(call.f_locals["kwargs"])))

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path == self._path and self.found is not None:
            self.found.output = by_value(output)

    def at(self, name: str, phase: Phase) -> None:
        """Token selection may call the model too, which is not meant."""
        if name == LOGITS and self._suspended is None:
            raise Enough


def is_again(suspended: Activation | None, module: nn.Module, call: FrameType) -> bool:
    """Whether a call that runs again is the suspended one: it is given the same, to the last bit."""
    if suspended is None or suspended.module is not module:
        return False
    return same_tensors((call.f_locals["args"], call.f_locals["kwargs"]), (suspended.args, suspended.kwargs))


def same_tensors(given: Any, before: Any) -> bool:
    """Whether two values hold the same tensors, to the last bit. A cache, which may have grown since, is left out."""
    ours, theirs = list(tensors_in(given)), list(tensors_in(before))
    return len(ours) == len(theirs) and all(map(_is_same, ours, theirs))


def _is_same(ours: Tensor, theirs: Tensor) -> bool:
    if torch.equal(ours, theirs):
        return True
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or not ours.is_floating_point():
        return False
    return bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())  # NaN, which one may be looking for


class _Asides(threading.local):
    """How many replays run inside of each other on this thread."""

    depth = 0


_asides = _Asides()


def asides() -> int:
    """How many replays run inside of each other on this thread."""
    return _asides.depth


@contextmanager
def aside() -> Iterator[None]:
    """What runs meanwhile is no part of what instruments listen to, or edits change, that were set up before.

    Nor of what is checkpointed around it: that counts the tensors that its graph saves.
    """
    _asides.depth += 1
    hooks = _take_saving_hooks()
    try:
        yield
    finally:
        for pack, unpack in reversed(hooks):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)
        _asides.depth -= 1


def _take_saving_hooks() -> list[tuple[Any, Any]]:
    """The hooks of this thread on tensors that graphs save, the innermost first; they are taken off."""
    autograd: Any = torch._C._autograd
    taken: list[tuple[Any, Any]] = []
    while (top := autograd._top_saved_tensors_default_hooks(True)) is not None:
        autograd._pop_saved_tensors_default_hooks()
        taken.append(top)
    return taken


@contextmanager
def instrumented(anatomy: Anatomy, probe: Probe) -> Iterator[None]:
    """Reports every module call of the model to a probe while this is open."""
    depth = _asides.depth

    def begins(module: nn.Module, _args: Any) -> None:
        if _asides.depth != depth:
            return
        if (path := anatomy.path_of(module)) is not None:
            probe.begins(path, module, call_frame(sys._getframe(1)))

    def ends(module: nn.Module, _args: Any, output: Any) -> None:
        if _asides.depth != depth:
            return
        if (path := anatomy.path_of(module)) is not None:
            probe.ends(path, module, output)

    handles = [register_module_forward_pre_hook(begins), register_module_forward_hook(ends)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
