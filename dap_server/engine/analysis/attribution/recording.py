"""One position of one sequence, followed through every module call of a step.

Only rows are kept, so that a recording of a large model is small: of every tensor that goes into a module or comes out
of it, what belongs to the position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.attention.capture import heads_heard
from dap_server.engine.analysis.lens.forwards import capture, speak
from dap_server.engine.analysis.lens.residuals import ids_shape
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.probes import Enough
from dap_server.modelmap.places import LOGITS, Phase


@dataclass
class Call:
    """One module call, at one position.

    Attributes:
        parent: index of the call around it; -1 for the model's.
        inputs: rows (W,) of the tensors that it was given, in order.
        output: row (W,) of the first tensor that it returned; None when it has none for the position.
        heads: of the attention that this very module computed.
    """

    path: str
    module: nn.Module
    parent: int
    inputs: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None
    heads: int | None = None
    end: int = 0


class Rows(NamedTuple):
    """Which rows of a tensor belong to a position: of B sequences, T positions of the present forward."""

    sequence: int
    position: int
    sequences: int
    positions: int

    def of(self, tensor: Tensor) -> Tensor | None:
        """(W,), by value; None for a tensor without one."""
        if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.layout is not torch.strided:
            return None
        shape, (b, t, count, length) = tensor.shape, self
        row: Tensor | None = None
        if tensor.dim() > 2 and shape[:2] == (count, length):
            row = tensor[b, t]
        elif tensor.dim() > 2 and shape[0] == count and shape[1] == 1 and t == length - 1:  # only the last one goes on
            row = tensor[b, 0]
        elif tensor.dim() > 2 and shape[:2] == (length, count):
            row = tensor[t, b]
        elif tensor.dim() == 2 and shape[0] == count * length:
            row = tensor[b * length + t]
        return None if row is None else row.detach().flatten().clone()


class Recording:
    """Every module call of one forward, in the order in which they began, and the logits that came of it.

    Attributes:
        layers: indices of the calls of the stack that makes the logits.
        logits: (V,) as the model gave them, of a classifier for the whole text; None without any for the position.
    """

    def __init__(self, anatomy: Anatomy, sequence: int, position: int) -> None:
        """`position`: in the forward, from its end when negative."""
        self.calls: list[Call] = []
        self.logits: Tensor | None = None
        self._anatomy, self._sequence, self._position = anatomy, sequence, position
        self._layer_paths = set(anatomy.layer_paths)
        self._open: list[int] = []
        self._rows: Rows | None = None
        self._sequences: int | None = None

    @property
    def layers(self) -> list[int]:
        called = [i for i, call in enumerate(self.calls) if call.path in self._layer_paths]
        if not called:
            return []
        stack = self.calls[called[-1]].path.rpartition(".")[0]
        return [i for i in called if self.calls[i].path.rpartition(".")[0] == stack]

    def continued(self, behind: Recording) -> Recording:
        """With what followed the layers in another forward."""
        if self.layers:
            end = self.calls[self.layers[-1]].end
            self.calls[end:] = behind.calls
            self.logits = behind.logits
        return self

    def children(self, index: int) -> list[int]:
        """The calls directly inside one."""
        return [i for i in self.inside(index) if self.calls[i].parent == index]

    def inside(self, index: int) -> range:
        """All calls inside one."""
        return range(index + 1, self.calls[index].end)

    def heads(self, index: int) -> int | None:
        """How many heads the attention in a call or inside it has; None when there is none, or they are several."""
        found = {self.calls[i].heads for i in (index, *self.inside(index))} - {None}
        return found.pop() if len(found) == 1 else None

    # --- as a probe

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        args, kwargs = call.f_locals["args"], dict(call.f_locals["kwargs"])
        if path == "":  # of a prefill in pieces, the last piece is what makes the logits
            self.calls.clear()
            self._open.clear()
            shape = ids_shape(args, kwargs)
            self._sequences = shape[0] if shape else None
            self._rows = self._rows_of(*shape) if shape else None
        stream = kwargs.pop("hidden_states", None)
        given = list(_floats([*args, stream, *kwargs.values()]))
        if path in self._layer_paths and given:
            self._look_at(given[0])
        self.calls.append(Call(path, module, self._open[-1] if self._open else -1))
        self.calls[-1].inputs = [row for tensor in given if (row := self._row(tensor)) is not None]
        self._open.append(len(self.calls) - 1)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        call = self.calls[self._open.pop()]
        call.end = len(self.calls)
        first = next(_floats([output]), None)
        call.output = None if first is None else self._row(first)
        if path == "":
            logits = getattr(output, "logits", None)
            self.logits = self._logits(logits) if isinstance(logits, Tensor) else None

    def at(self, name: str, phase: Phase) -> None:
        """The last forward of the step is over."""
        if name == LOGITS:
            raise Enough

    def attended(self, heads: int) -> None:
        """An attention function runs."""
        if self._open:
            self.calls[self._open[-1]].heads = heads

    def _look_at(self, hidden: Tensor) -> None:
        if hidden.dim() < 3:
            return
        count, length = hidden.shape[:2]
        if self._sequences == length != count:  # a few models have the position in front
            count, length = length, count
        self._rows = self._rows_of(count, length)

    def _rows_of(self, count: int, length: int) -> Rows | None:
        is_there = -length <= self._position < length
        return Rows(self._sequence, self._position % length, count, length) if is_there else None

    def _logits(self, logits: Tensor) -> Tensor | None:
        """Of the position; a classifier gives one row (B, N) for the whole text."""
        if logits.dim() == 2 and logits.shape[0] == self._sequences:
            return logits[self._sequence].detach().clone()
        return self._row(logits)

    def _row(self, tensor: Tensor) -> Tensor | None:
        return None if self._rows is None else self._rows.of(tensor)


def record(tape: Tape, step: int, anatomy: Anatomy, sequence: int, position: int = -1) -> Recording:
    """Runs a step again and follows one position through it.

    Of a prefill the model goes on with the last position only. For another one it is made to go on with that.
    """
    recording = Recording(anatomy, sequence, position)
    with heads_heard(recording.attended):
        tape.replay(step, recording)
    if recording.logits is None and recording.layers:
        stream = capture(tape, step, anatomy, [position])
        behind = Recording(anatomy, sequence, -1)
        speak(tape, step, anatomy, stream, iter(stream.hidden[-1:]), lambda _: None, behind)
        recording.continued(behind)
    return recording


def multiple_of(row: Tensor, other: Tensor) -> float | None:
    """The number that one row is of another, up to rounding; None when it is no multiple of it."""
    if row.shape != other.shape:
        return None
    a, b = row.double(), other.double()
    square = float(b @ b)
    if square == 0.0 or not math.isfinite(square):
        return None
    factor = float(a @ b) / square
    error = float((a - factor * b).norm())
    if factor == 0.0 or not error <= tolerance(row) * float(a.norm()):
        return None
    return 1.0 if abs(factor - 1.0) < tolerance(row) else factor


def tolerance(row: Tensor) -> float:
    """What rounding may make of a row of its number format, relative to its length."""
    return max(1e-5, 2 * torch.finfo(row.dtype).eps)


def _floats(values: Any) -> Iterator[Tensor]:
    """Tensors of numbers in a value, the outermost and first ones first."""
    for value in values:
        if isinstance(value, Tensor):
            if value.is_floating_point():
                yield value
        elif isinstance(value, dict):
            yield from _floats(value.values())
        elif isinstance(value, list | tuple):
            yield from _floats(value)
