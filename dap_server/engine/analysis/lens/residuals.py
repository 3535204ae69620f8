"""The residual stream of a forward at some positions: what goes into the first layer, and what each layer leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import memory
from dap_server.engine.execution.probes import Enough
from dap_server.modelmap.places import LOGITS, Phase
from dap_server.protocol.errors import RequestError

IDS = ("decoder_input_ids", "input_ids", "decoder_inputs_embeds", "inputs_embeds")
"""How the model is given its text; in an encoder–decoder the decoder's comes first."""


class CannotRead(RequestError):
    """There is no residual stream to read in this step; the text says why."""

    id = 52


class Axes(NamedTuple):
    """Which axes of a residual stream are sequence and position; some models keep several streams before these."""

    sequence: int
    position: int


class Place(NamedTuple):
    """What one layer call left. `hidden`: (…, B, T', …, D) at the wanted positions; `rest`: what else it returned."""

    path: str
    hidden: Tensor
    rest: tuple[Any, ...] | None


@dataclass
class Stream:
    """The residual stream of one forward.

    Attributes:
        before: (B, T', D) what went into the first layer, at the wanted positions.
        places: after each layer call of the stack that made the logits.
        updates: (B, T') of each, in float64: the norm of what the layer added.
        length: T of the forward.
        logits: (B, V) what the model gave at the last position, or for the whole text; None when it gives none.
        is_pooled: whether it gives one row for the whole text, as a classifier does.
        is_whole: whether all positions are there, and the model can go on with what it was called with.
    """

    before: Tensor
    places: list[Place]
    updates: list[Tensor]
    axes: Axes
    length: int
    logits: Tensor | None = None
    is_pooled: bool = False
    is_whole: bool = False

    @property
    def paths(self) -> list[str]:
        """Of the places; empty for what went into the first layer."""
        return ["", *(place.path for place in self.places)]

    @property
    def hidden(self) -> list[Tensor]:
        """L + 1 of (…, B, T', …, D)."""
        return [self.before, *(place.hidden for place in self.places)]

    @property
    def width(self) -> int:
        """V. Raises CannotRead: the model has no head."""
        if self.logits is None:
            raise CannotRead("the model gives no logits: it has no head that says anything")
        return self.logits.shape[-1]

    @property
    def size(self) -> float:
        """Of the largest logit. Raises CannotRead."""
        logits = self.logits if self.width else None
        return 0.0 if logits is None else float(logits.abs().nan_to_num(posinf=0.0).max())

    @property
    def sequences(self) -> int:
        """B."""
        return self.before.shape[self.axes.sequence]

    def row(self, place: int, sequence: int) -> Tensor:
        """(T', W) of one sequence after a place; several streams stand beside each other."""
        return self.hidden[place].movedim(self.axes, (0, 1))[sequence].flatten(1)

    def of_sequence(self, sequence: int) -> Stream:
        """Of one sequence alone, as a batch of one."""
        index = torch.tensor([sequence], device=self.before.device)
        return self._selected(self.axes.sequence, index, [u[sequence : sequence + 1] for u in self.updates])

    def at(self, positions: list[int]) -> Stream:
        """At some of its positions."""
        index = torch.tensor(positions, device=self.before.device)
        return self._selected(self.axes.position, index, [u[:, index] for u in self.updates])

    def _selected(self, axis: int, index: Tensor, updates: list[Tensor]) -> Stream:
        places = [place._replace(hidden=place.hidden.index_select(axis, index)) for place in self.places]
        return replace(
            self, is_whole=False, before=self.before.index_select(axis, index), places=places, updates=updates
        )


def joined(streams: Sequence[Stream], order: list[int]) -> Stream:
    """The positions of several forwards as those of one, in an order."""
    first = streams[0]
    places = [
        p._replace(hidden=torch.cat([s.places[i].hidden for s in streams], dim=first.axes.position))
        for i, p in enumerate(first.places)
    ]
    updates = [torch.cat([s.updates[i] for s in streams], dim=1) for i in range(len(places))]
    before = torch.cat([s.before for s in streams], dim=first.axes.position)
    return replace(first, before=before, places=places, updates=updates).at(order)


def measured(stream: Stream, sequence: int) -> tuple[Tensor, Tensor, Tensor]:
    """Norm, update and cosine to the last place of the residual stream, each (L + 1, T') in float64."""
    last = stream.row(-1, sequence).double()
    norms, cosines = [], []
    for k in range(len(stream.paths)):
        row = stream.row(k, sequence).double()
        norms.append(row.norm(dim=-1))
        cosines.append(torch.cosine_similarity(row, last, dim=-1))
    nothing = torch.zeros_like(norms[0])
    return torch.stack(norms), torch.stack([nothing, *(u[sequence] for u in stream.updates)]), torch.stack(cosines)


class StreamProbe:
    """Captures the residual stream at some positions of the last forward of a step."""

    def __init__(self, anatomy: Anatomy, positions: Sequence[int] | None) -> None:
        """`positions`: in the forward, from its end when negative; None for all."""
        self._anatomy, self._positions = anatomy, positions
        self._layers = set(anatomy.layer_paths)
        self._streams: dict[str, Stream] = {}
        self._last: str | None = None
        self._shape: tuple[int, int] | None = None  # (B, T) of the ids
        self._given: dict[str, list[tuple[Tensor, Axes]]] = {}  # of layer calls that run

    @property
    def stream(self) -> Stream:
        """Of the stack that ran last. Raises CannotRead."""
        if self._last is None:
            raise CannotRead("no layers ran in this step: there is no residual stream to read")
        return self._streams[self._last]

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        args, kwargs = call.f_locals["args"], call.f_locals["kwargs"]
        if path == "":
            self._streams, self._last, self._given = {}, None, {}
            self._shape = ids_shape(args, kwargs)
        elif path in self._layers:
            given = hidden_of(args, kwargs)
            axes = _axes(given, self._shape)
            self._given.setdefault(path, []).append((self._at(given, axes), axes))

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path == "":
            logits = getattr(output, "logits", None)
            if self._last is not None and isinstance(logits, Tensor):
                self.stream.is_pooled = logits.dim() == 2
                self.stream.logits = (logits if logits.dim() == 2 else logits[:, -1]).detach().clone()
        elif path in self._layers:
            self._add(path, output, *self._given[path].pop())

    def at(self, name: str, phase: Phase) -> None:
        """The last forward of the step is over: a prefill may have several, and token selection may call the model."""
        if name == LOGITS:
            raise Enough

    def _add(self, path: str, output: Any, given: Tensor, axes: Axes) -> None:
        hidden = output[0] if isinstance(output, list | tuple) else output
        kept = self._at(hidden, axes) if isinstance(hidden, Tensor) and hidden.dim() > axes.position else None
        if kept is None or kept.shape != given.shape:
            raise CannotRead(f"{path} does not return a residual stream of the shape that it was given")
        self._last = stack = path.rpartition(".")[0]
        if stack not in self._streams:
            self._require(given)
            self._streams[stack] = Stream(
                given, [], [], axes, hidden.shape[axes.position], is_whole=self._positions is None
            )
        stream = self._streams[stack]
        made = (kept.double() - given.double()).movedim(axes, (0, 1))
        stream.places.append(Place(path, kept, tuple(output[1:]) if isinstance(output, list | tuple) else None))
        stream.updates.append(made.flatten(2).norm(dim=-1))

    def _at(self, hidden: Tensor, axes: Axes) -> Tensor:
        """The wanted positions, by value: models write into what they have returned."""
        if self._positions is None:
            return hidden.detach().clone()
        length = hidden.shape[axes.position]
        if any(not -length <= p < length for p in self._positions):
            raise CannotRead(f"this forward has positions 0 to {length - 1}")
        index = torch.tensor([p % length for p in self._positions], device=hidden.device)
        return hidden.detach().index_select(axes.position, index)

    def _require(self, kept: Tensor) -> None:
        needed = kept.numel() * kept.element_size() * (len(self._layers) + 1)
        memory.require(needed, kept.device, "the residual stream", "ask for fewer positions")


def hidden_of(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """The residual stream among what a layer is given."""
    given = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0] if args else None
    if not isinstance(given, Tensor):
        raise CannotRead("the layers of this model are not given a residual stream as their first argument")
    return given


def _axes(hidden: Tensor, shape: tuple[int, int] | None) -> Axes:
    if shape is not None and hidden.dim() >= 3:
        for first in (0, 1):
            if tuple(hidden.shape[first : first + 2]) == shape and first + 2 < hidden.dim():
                return Axes(first, first + 1)
        if tuple(hidden.shape[:2]) == shape[::-1]:
            return Axes(1, 0)
    if hidden.dim() == 3:
        return Axes(0, 1)
    raise CannotRead(f"a residual stream of shape {list(hidden.shape)} is not known: which axis is the position?")


def ids_shape(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, int] | None:
    """(B, T) of the text that a call of the whole model is given."""
    given = next((kwargs[name] for name in IDS if kwargs.get(name) is not None), args[0] if args else None)
    return (given.shape[0], given.shape[1]) if isinstance(given, Tensor) and given.dim() >= 2 else None
