"""NaN and infinity: how many there are, and whether they came into being here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.values import tensors_in
from dap_server.modelmap.places import SAMPLE


class Counts(NamedTuple):
    """Elements of what passes at a place; all 0 where they came from somewhere else."""

    nans: int
    infinities: int


NONE = Counts(0, 0)


class NonFinite:
    """Finds where non-finite values are born: in a call that is given finite values only, and returns others.

    What a call has made, the calls around it return too, and the ones behind it are given: of a step, only the first
    place of such a chain counts.
    """

    def __init__(self) -> None:
        self._births: dict[int, set[str]] = {}  # by step
        self._branches: Branches | None = None  # of the call that they are of
        self._edits = Edits()  # with which they came into being

    def known(self, candidate: Candidate) -> Counts:
        """Of what is returned there, or of the scores of the next tokens; counted once for a candidate."""
        if self not in candidate.known:
            candidate.known[self] = self._counts(candidate)
        found: Counts = candidate.known[self]
        return found

    def _counts(self, candidate: Candidate) -> Counts:
        self._forget_other_runs(candidate.generation)
        if candidate.place.path == SAMPLE:
            return self._of_scores(candidate)
        found = anomalous(candidate)
        if not found or self._is_known_inside(candidate) or not self._is_given_finite(candidate):
            return NONE
        self._remember(candidate)
        return Counts(
            sum(int(torch.isnan(tensor).sum()) for tensor in found),
            sum(int(torch.isinf(tensor).sum()) for tensor in found),
        )

    def _forget_other_runs(self, generation: Generation) -> None:
        """What was born in another call, or in steps that edits have changed since, is not known of this one."""
        if generation.branches is not self._branches:
            self._births = {}
        elif generation.edits is not self._edits:
            first = self._edits.first_difference(generation.edits)
            self._births = {step: born for step, born in self._births.items() if first is None or step < first}
        self._branches, self._edits = generation.branches, generation.edits

    def _of_scores(self, candidate: Candidate) -> Counts:
        """Minus infinity is how a token is ruled out; there is nothing to draw from with NaN, or with nothing left."""
        selection = candidate.generation.selection
        step = candidate.place.step
        if selection is None or self._births.get(step, set()) - {SAMPLE}:
            return NONE
        probs = torch.softmax(selection.scores, -1)
        nans = int(torch.isnan(probs).sum())
        if nans:
            self._remember(candidate)
        return Counts(nans, 0)

    def _is_known_inside(self, candidate: Candidate) -> bool:
        path = candidate.place.path
        inside = path + "." if path else ""
        return any(birth.startswith(inside) and birth != path for birth in self._births.get(candidate.place.step, ()))

    def _is_given_finite(self, candidate: Candidate) -> bool:
        given = candidate.given
        if any(not is_finite(tensor) and not is_mask(tensor) for tensor in tensors_in(given)):
            return False
        is_first = not any(step < candidate.place.step for step in self._births)
        return is_first or all(is_finite(tensor) for tensor in _cached(given))

    def _remember(self, candidate: Candidate) -> None:
        step = candidate.place.step
        self._births.setdefault(step, set()).add(candidate.place.path)


def is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def is_mask(tensor: Tensor) -> bool:
    """Whether it is made to be added to scores: nothing but zero, and minus infinity where nobody shall look."""
    seen = tensor == 0
    return bool(seen.any() and (seen | torch.isneginf(tensor)).all())


def anomalous(candidate: Candidate) -> list[Tensor]:
    """What is returned there and is not finite, without that being meant.

    Minus infinity is meant in a mask, and in the scores of the whole model, where it rules out a token.
    """
    broken = [tensor for tensor in tensors_in(candidate.output) if not is_finite(tensor) and not is_mask(tensor)]
    if candidate.place.path:
        return broken
    return [tensor for tensor in broken if not bool((torch.isfinite(tensor) | torch.isneginf(tensor)).all())]


def _cached(given: Any) -> Iterator[Tensor]:
    """What a cache among the arguments holds of earlier tokens."""
    for value in (item for part in given for item in (part.values() if isinstance(part, dict) else part)):
        layers = getattr(value, "layers", None)
        if isinstance(layers, list):
            for layer in layers:
                yield from tensors_in(vars(layer))
