"""Which elements of a value an edit changes: by sequences, positions and neurons, or by an index as Python has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor

from dap_server.conditions import data_ids
from dap_server.protocol.errors import RequestError

Index = tuple[int | slice | EllipsisType | Tensor, ...]
"""What a tensor is indexed with; reading and writing mean the same elements."""

ALL: Index = (...,)


class CannotEdit(RequestError):
    """An edit means nothing here, or does not fit; nothing has changed. The text says what would."""

    id = 56


@dataclass(frozen=True)
class StepPositions:
    """Which part of the text a forward works on.

    Attributes:
        sequences: B.
        first: position of its first token in the text, padding included.
        count: T, how many tokens it has: the whole prompt in step 0, later one where there is a cache.
    """

    sequences: int
    first: int
    count: int

    @property
    def end(self) -> int:
        """The first position behind it: as long is the text in this step."""
        return self.first + self.count

    def indices_of(self, positions: Sequence[int]) -> list[int]:
        """Where wanted positions stand in this forward, in their order; those that it does not work on are left out.

        A negative position counts from the end of the text as it is in the step: -1 is the newest token in every step.
        """
        absolute = (position + self.end if position < 0 else position for position in positions)
        return [position - self.first for position in absolute if self.first <= position < self.end]


@dataclass(frozen=True)
class Selection:
    """The elements of a value (B, T, …, D) that an edit changes; everything where nothing is said.

    Attributes:
        sequences: of the batch.
        positions: in the text, padding included, so that position 7 is the same token in every step; negative ones
            count from the end of the text in the step. A decode step works on one position alone.
        neurons: in the last axis.
        index: as Python has it, instead of all of these; what it means is counted anew in every step.
    """

    sequences: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None
    neurons: tuple[int, ...] | None = None
    index: data_ids.Index | None = None

    def __post_init__(self) -> None:
        by_name = (self.sequences, self.positions, self.neurons)
        if self.index is not None and any(part is not None for part in by_name):
            raise CannotEdit("an index says it all: name no sequences, positions or neurons beside it")
        for name, part in zip(("sequences", "positions", "neurons"), by_name, strict=True):
            if part is not None and not part:
                raise CannotEdit(f"no {name} are named: leave them out for all of them")
            if part is not None and len(set(part)) < len(part):
                raise CannotEdit(f"{name} are named twice: {_text(part)}")

    @property
    def is_whole(self) -> bool:
        return self == Selection()

    def of(self, shape: Sequence[int], step: StepPositions) -> Index | None:
        """What is meant of a value of this shape; None where it has nothing of it in this step.

        Besides (B, T, …) values may have heads before their positions, (B, H, T, …), or all tokens in one axis, B·T.

        Raises:
            CannotEdit: there is no such element in any step.
        """
        if self.index is not None:
            return _checked(self.index, shape)
        chosen: dict[int, list[int]] = {}
        if self.neurons is not None:
            if not shape:
                raise CannotEdit("a single number has no neurons")
            chosen[len(shape) - 1] = members(self.neurons, shape[-1], "neurons")
        if self.sequences is None and self.positions is None:
            return open_index(shape, chosen)
        sequences = members(self.sequences or range(step.sequences), step.sequences, "sequences")
        wanted = range(step.first, step.end) if self.positions is None else self.positions
        indices = step.indices_of(wanted)
        if not indices:
            return None
        return open_index(shape, {**chosen, **self._tokens(shape, step, sequences, indices)})

    def _tokens(
        self, shape: Sequence[int], step: StepPositions, sequences: list[int], indices: list[int]
    ) -> dict[int, list[int]]:
        """By axis: where these sequences and indices of positions are in a value."""
        batch, count = step.sequences, step.count
        last = len(shape) - 1 if self.neurons is not None else len(shape)  # axes before the one of neurons
        if last >= 2 and shape[0] == batch and shape[1] == count:
            return {0: sequences, 1: indices}
        if last >= 3 and shape[0] == batch and shape[2] == count:
            return {0: sequences, 2: indices}
        if last >= 1 and shape[0] == batch * count:
            return {0: [b * count + i for b in sequences for i in indices]}
        if last >= 1 and shape[0] == batch and self.positions is None:
            return {0: sequences}
        what = "positions" if self.positions is not None else "sequences"
        raise CannotEdit(
            f"a value of shape {_text(shape)} has no axis of {what} here: name elements by an index, [0, 3]"
        )

    def __str__(self) -> str:
        """` at positions 3, 4, neuron 7`, `[0, -1]`; empty for everything."""
        if self.index is not None:
            return data_ids.index_text(self.index)
        parts = [
            f"{name if len(part) > 1 else name[:-1]} {_text(part)}"
            for name, part in (("sequences", self.sequences), ("positions", self.positions), ("neurons", self.neurons))
            if part is not None
        ]
        return f" at {', '.join(parts)}" if parts else ""


def members(wanted: Sequence[int], size: int, what: str) -> list[int]:
    """Indices in an axis of a size, negative ones counted from its end. Raises CannotEdit: it has not got one."""
    if missing := [i for i in wanted if not -size <= i < size]:
        raise CannotEdit(f"no {what} {_text(missing)}: there are {size}, counted from 0")
    return [i % size for i in wanted]


def open_index(shape: Sequence[int], chosen: Mapping[int, Sequence[int]]) -> Index:
    """The elements that are chosen in every axis, all of an axis that is not: part (…) keeps all axes of the value."""
    if not chosen:
        return ALL
    parts: list[int | slice | EllipsisType | Tensor] = []
    for axis, size in enumerate(shape):
        if len(chosen) == 1:  # slices beside one list stay slices
            parts.append(torch.tensor(chosen[axis]) if axis in chosen else slice(None))
        else:
            along = [-1 if other == axis else 1 for other in range(len(shape))]
            parts.append(torch.tensor(list(chosen.get(axis, range(size)))).view(along))
    return tuple(parts)


def _checked(index: data_ids.Index, shape: Sequence[int]) -> Index:
    """An index that is in a value of this shape, on which nothing is computed."""
    try:
        part = torch.empty(tuple(shape), device="meta")[index]
    except (IndexError, ValueError) as error:
        raise CannotEdit(f"{data_ids.index_text(index)} is not in a value of shape {_text(shape)}: {error}") from None
    if not part.numel():
        raise CannotEdit(f"{data_ids.index_text(index)} selects nothing of a value of shape {_text(shape)}")
    return index


def _text(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "()"
