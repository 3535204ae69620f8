"""How scores become a token: the logits, what every logits processor makes of them, and the draw. For one sequence.

Everything is worked out in float64 from the scores themselves: close to certainty an entropy is the difference of
nearly equal numbers. A score of -inf takes a token out of the choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dap_server.engine.execution.generation import Selection

LOGITS, PROBABILITIES = "logits", "probabilities"
"""The names of the first and the last stage; those between have the classes of the logits processors."""


class Candidate(NamedTuple):
    """One token at one stage."""

    token: int
    score: float
    probability: float


class Move(NamedTuple):
    """What a stage did to the probability of a token."""

    token: int
    before: float
    after: float


@dataclass(frozen=True)
class Stage:
    """The scores of one sequence at one point of the choice.

    Attributes:
        name: `logits`, the class of a logits processor, or `probabilities`.
        occurrence: how many processors of that class come before it.
        processor: the object; None for the first and the last stage.
        raw: (V,) the scores as they are.
        before: the stage whose scores it was given; None for the first.
    """

    name: str
    occurrence: int
    processor: Any
    raw: Tensor
    before: Stage | None

    @property
    def title(self) -> str:
        """Its name, numbered where a class comes more than once."""
        return f"{self.name} ({self.occurrence + 1})" if self.occurrence else self.name

    @cached_property
    def scores(self) -> Tensor:
        """(V,) in float64."""
        return self.raw.double()

    @cached_property
    def probs(self) -> Tensor:
        """(V,) softmax; NaN everywhere when a score is NaN or +inf, or all are -inf, as torch has it."""
        return torch.softmax(self.scores, dim=-1)

    @cached_property
    def entropy(self) -> float:
        """In nats."""
        return float(self.unread_entropy)

    @cached_property
    def unread_entropy(self) -> Tensor:
        """() the same, where the scores are."""
        surprise: Tensor = torch.special.xlogy(self.probs, self.probs).sum()
        return 0.0 - surprise

    @cached_property
    def kept(self) -> int:
        """How many tokens can be chosen."""
        return int((~self.scores.isneginf()).sum())

    @cached_property
    def nan(self) -> int:
        return int(self.scores.isnan().sum())

    @property
    def _pruned(self) -> Tensor:
        """(V,) which tokens this stage has taken out."""
        if self.before is None:
            return torch.zeros_like(self.scores, dtype=torch.bool)
        return self.scores.isneginf() & ~self.before.scores.isneginf()

    @cached_property
    def pruned(self) -> int:
        return int(self._pruned.sum())

    @cached_property
    def pruned_mass(self) -> float:
        """The probability, before this stage, of the tokens that it has taken out."""
        return 0.0 if self.before is None else float(self.before.probs[self._pruned].sum())

    @cached_property
    def changed(self) -> int:
        """How many scores are not what they were."""
        if self.before is None:
            return 0
        was, now = self.before.scores, self.scores
        return int(((was != now) & ~(was.isnan() & now.isnan())).sum())

    def at(self, token: int) -> Candidate:
        return Candidate(token, float(self.scores[token]), float(self.probs[token]))

    def rank(self, token: int) -> int | None:
        """From 1; None where there are no probabilities."""
        mine = self.probs[token]
        return None if bool(mine.isnan()) else int((self.probs > mine).sum()) + 1

    def top(self, count: int) -> list[Candidate]:
        """The most likely tokens that can be chosen, best first."""
        order = self.scores.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
        ids = order.topk(min(count, order.numel())).indices.tolist()
        return [self.at(token) for token in ids if order[token] > -math.inf]

    def movers(self, count: int) -> list[Move]:
        """The tokens whose probability this stage has changed most, the greatest change first."""
        if self.before is None:
            return []
        change = (self.probs - self.before.probs).abs()
        ids = change.topk(min(count, change.numel())).indices.tolist()
        return [
            Move(token, float(self.before.probs[token]), float(self.probs[token]))
            for token in ids
            if float(change[token]) > 0
        ]


@dataclass(frozen=True)
class Choice:
    """The choice of one sequence's token.

    Attributes:
        token: the id.
        is_chosen: whether it is; else it will be.
        is_sampled: whether it is drawn from the probabilities; else the highest score wins.
        is_padding: the sequence has ended, and its token is padding whatever the scores say.
        stages: the logits, every logits processor, the probabilities.
    """

    token: int
    is_chosen: bool
    is_sampled: bool
    is_padding: bool
    stages: list[Stage]

    @property
    def logits(self) -> Stage:
        return self.stages[0]

    @property
    def final(self) -> Stage:
        return self.stages[-1]

    @property
    def pruned(self) -> int:
        return int((self.final.scores.isneginf() & ~self.logits.scores.isneginf()).sum())

    @property
    def pruned_mass(self) -> float:
        """The probability, under the logits as the model gave them, of all tokens that cannot be chosen any more."""
        return float(self.logits.probs[self.final.scores.isneginf()].sum())

    @property
    def draw(self) -> str:
        if self.is_padding:
            return "padding: this sequence has ended"
        return "sampled from the probabilities" if self.is_sampled else "greedy: the highest score"


@torch.no_grad()
def stages_of(selection: Selection, sequence: int) -> list[Stage]:
    """The stages that have been passed, as far as they were kept."""
    return list(_stages(selection, sequence))


def _stages(selection: Selection, sequence: int) -> Iterator[Stage]:
    stage = Stage(LOGITS, 0, None, selection.logits[sequence], None)
    yield stage
    counts: dict[str, int] = {}
    for processed in selection.processed:
        if processed.scores is None:
            return
        occurrence = counts[processed.name] = counts.get(processed.name, -1) + 1
        stage = Stage(processed.name, occurrence, processed.processor, processed.scores[sequence], stage)
        yield stage


@torch.no_grad()
def choice_of(selection: Selection, tokens: Tensor, sequence: int, is_sampled: bool, is_chosen: bool) -> Choice:
    """`tokens` (B,) are those that are chosen, or will be."""
    stages = stages_of(selection, sequence)
    final = Stage(PROBABILITIES, 0, None, selection.scores[sequence], stages[-1])
    unfinished = selection.unfinished
    is_padding = unfinished is not None and not int(unfinished[sequence])
    return Choice(int(tokens[sequence]), is_chosen, is_sampled, is_padding, [*stages, final])


def options_of(processor: object) -> dict[str, Any]:
    """What a logits processor was made with, as far as it keeps it: its public attributes."""
    return {name: value for name, value in getattr(processor, "__dict__", {}).items() if not name.startswith("_")}
