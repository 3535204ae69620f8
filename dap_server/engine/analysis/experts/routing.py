"""Mixture of experts: what routers compute, which experts the model uses for each token, and how they share the load.

What a model uses is taken from what its experts are given, or from
what the router returns; only where neither tells is it worked out from the logits, and marked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.routers import Router
from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.probes import Enough
from dap_server.engine.execution.routed import logits_of, told_by
from dap_server.engine.execution.values import by_value

Source = Literal["what the experts were given", "what the router gave", "worked out: the highest logits"]
Scoring = Literal["softmax", "sigmoid", "given as probabilities"]

NOBODY = -1
"""Stands in a row of chosen experts for a place that nobody got, as beyond the capacity of an expert."""


@dataclass(frozen=True)
class Routing:
    """What one router did in one step. N is all positions of all sequences, E all experts.

    Attributes:
        shape: B and T, the sequences and their positions; N is B · T.
        logits: (N, E) in float64, as it computed them.
        chosen: (N, K) experts; NOBODY where one was not given.
        weights: (N, K) in float64, what the outputs of the experts are multiplied with; None where that is not told.
    """

    router: Router
    shape: tuple[int, int]
    logits: Tensor
    chosen: Tensor
    weights: Tensor | None
    source: Source

    @property
    def experts(self) -> int:
        return self.logits.shape[1]

    @property
    def per_token(self) -> int:
        return self.chosen.shape[1]

    @cached_property
    def scoring(self) -> Scoring | None:
        """How scores follow from the logits; None where the weights fit nothing that is known here.

        It is measured: weights are the scores of the chosen experts, times a number for all of them or for each token.
        """
        return _scoring(self.logits, self.chosen, self.weights)

    @cached_property
    def scores(self) -> Tensor | None:
        """(N, E) what the router makes of its logits."""
        return None if self.scoring is None else _scores(self.logits, self.scoring)

    @cached_property
    def load(self) -> Tensor:
        """(E,) how many tokens each expert was given, over all sequences."""
        return torch.bincount(self.chosen[self.chosen >= 0], minlength=self.experts)

    @property
    def imbalance(self) -> float:
        """The load of the fullest expert over the mean: 1 when all are alike, E when one has everything."""
        total = int(self.load.sum())
        return float(self.load.max()) * self.experts / total if total else math.nan

    @property
    def entropy(self) -> float:
        """Of the shares of the load, in nats; ln E when all are alike."""
        shares = self.load.double() / max(int(self.load.sum()), 1)
        return float(0.0 - torch.special.xlogy(shares, shares).sum())

    @property
    def dropped(self) -> int:
        """How many places nobody got."""
        return int((self.chosen < 0).sum())

    def row(self, sequence: int, position: int) -> int:
        """Of the N, where a position of this step's T stands."""
        return sequence * self.shape[1] + position


# --- a step


@torch.no_grad()
def route(tape: Tape, step: int, wanted: list[Router], until: str, anatomy: Anatomy) -> list[Routing]:
    """What routers do in a step, found by running it again as far as the end of a module. Raises Cancelled."""
    probe = _RouterProbe(wanted, until)
    tape.replay(step, probe)
    made = [_routing(router, probe.calls[router.path], anatomy) for router in wanted]
    return [routing for routing in made if routing is not None]


@dataclass
class _Call:
    """One call of a router, and of the experts after it.

    Attributes:
        shape: B and T of the hidden states (B, T, D) that a module around the router was given, the innermost that was
            given any; None where none was.
    """

    output: Any
    given: list[Tensor] = field(default_factory=list)
    shape: tuple[int, int] | None = None


class _RouterProbe:
    """Holds what routers return and what their experts are given; ends the replay where a module ends."""

    def __init__(self, wanted: list[Router], until: str) -> None:
        self.calls: dict[str, list[_Call]] = {router.path: [] for router in wanted}
        self._routers_of = {router.experts: router.path for router in wanted if router.experts is not None}
        self._around = {path: _ancestors(path) for path in self.calls}
        self._shapes: dict[str, tuple[int, int]] = {}
        self._watched = {path for around in self._around.values() for path in around}
        self._until = until

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if path in self._routers_of or path in self._watched:
            given = [*call.f_locals["args"], *call.f_locals["kwargs"].values()]
            tensors = [value for value in given if isinstance(value, Tensor)]
            if path in self._watched:
                self._see_shape(path, tensors)
            if (calls := self.calls.get(self._routers_of.get(path, ""))) and not calls[-1].given:
                calls[-1].given = [by_value(tensor) for tensor in tensors[1:]]  # behind the hidden states

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path in self.calls:
            shape = next((self._shapes[p] for p in self._around[path] if p in self._shapes), None)
            self.calls[path].append(_Call(by_value(output), shape=shape))
        if path == self._until:
            raise Enough

    def _see_shape(self, path: str, tensors: list[Tensor]) -> None:
        hidden = next((t for t in tensors if t.dim() == 3 and t.is_floating_point()), None)
        self._shapes.pop(path, None)
        if hidden is not None:
            self._shapes[path] = (hidden.shape[0], hidden.shape[1])


def _ancestors(path: str) -> list[str]:
    """The path and those around it, innermost first."""
    parts = path.split(".")
    return [".".join(parts[:i]) for i in range(len(parts), -1, -1)]


def _routing(router: Router, calls: list[_Call], anatomy: Anatomy) -> Routing | None:
    """The calls of a step joined: a long prompt may come in chunks."""
    made = [one for call in calls if (one := _one_call(router, call, anatomy)) is not None]
    if not made:
        return None
    first = made[0]
    if len(made) == 1:
        return first
    shape = (first.shape[0], sum(one.shape[1] for one in made))
    weights = None if any(one.weights is None for one in made) else _joined(made, "weights")
    return Routing(router, shape, _joined(made, "logits"), _joined(made, "chosen"), weights, first.source)


def _joined(made: list[Routing], name: str) -> Tensor:
    """Along the positions of every sequence."""
    parts = [getattr(one, name).unflatten(0, one.shape) for one in made]
    return torch.cat(parts, dim=1).flatten(0, 1)


def _one_call(router: Router, call: _Call, anatomy: Anatomy) -> Routing | None:
    returned = list(call.output) if isinstance(call.output, tuple | list) else [call.output]
    logits = logits_of(returned, router.index)
    if logits is None:
        return None
    rows = logits.reshape(-1, logits.shape[-1])  # (N, E)
    count, experts = rows.shape
    shape = call.shape or (1, count)
    if math.prod(shape) != count:
        return None  # its logits are not one row for each token
    others = [value for value in returned if isinstance(value, Tensor) and value is not logits]
    sources: list[tuple[Source, list[Tensor]]] = [
        ("what the experts were given", call.given),
        ("what the router gave", others),
    ]
    for source, tensors in sources:
        if (found := _told(tensors, count, experts)) is not None:
            return Routing(router, shape, rows.double(), *found, source)
    if (k := _top_k(router.path, anatomy)) is None or k > experts:
        return None
    return Routing(router, shape, rows.double(), rows.topk(k, dim=-1).indices, None, "worked out: the highest logits")


def _told(tensors: list[Tensor], count: int, experts: int) -> tuple[Tensor, Tensor | None] | None:
    """Chosen experts and weights (N, K), if some tensors tell them: as numbers, or as a mask or weights of all E."""
    told = told_by(tensors, count, experts)
    if told is None:
        return None
    chosen = None if told.chosen is None else tensors[told.chosen].reshape(count, -1)
    weights = None if told.weights is None else tensors[told.weights].reshape(count, -1).double()
    if told.are_numbers and chosen is not None:
        return chosen.long(), weights
    if chosen is None:
        assert weights is not None
        return _of_mask(weights != 0, weights)
    return _of_mask(chosen != 0, None if weights is None else weights.expand(-1, experts))


def _of_mask(mask: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Of (N, E) the numbers of what is marked, the greatest weight first, in as many columns as the fullest row has."""
    width = max(int(mask.sum(dim=1).max()), 1)
    order = mask.double() if weights is None else weights.masked_fill(~mask, -math.inf)
    best = order.topk(width, dim=1).indices
    is_given = mask.gather(1, best)
    chosen = best.masked_fill(~is_given, NOBODY)
    return chosen, None if weights is None else weights.gather(1, best).masked_fill(~is_given, 0)


def _top_k(path: str, anatomy: Anatomy) -> int | None:
    """How many experts each token gets, as the router or what is around it says."""
    for around in _ancestors(path):
        owner: Any = anatomy.modules[around]
        for holder in (owner, getattr(owner, "config", None)):
            for name in ("top_k", "num_experts_per_tok", "moe_top_k", "num_experts_per_token"):
                if type(k := getattr(holder, name, None)) is int:
                    return k
    return None


def _scores(logits: Tensor, scoring: Scoring) -> Tensor:
    if scoring == "given as probabilities":
        return logits
    return logits.softmax(dim=-1) if scoring == "softmax" else logits.sigmoid()


TOLERANCE = 2e-2
"""Relative, between weights and scores: weights may be in half precision."""

CLEARER = 4
"""So many times better than any other has a scoring to fit the weights: small logits make them alike."""


def _scoring(logits: Tensor, chosen: Tensor, weights: Tensor | None) -> Scoring | None:
    if weights is None or not bool((chosen >= 0).any()):
        return None
    is_distribution = bool((logits >= 0).all()) and bool((logits.sum(dim=-1) - 1).abs().max() < TOLERANCE)
    candidates: tuple[Scoring, ...] = ("given as probabilities",) if is_distribution else ("softmax", "sigmoid")
    misfits = {}
    for scoring in candidates:
        scores = _scores(logits, scoring).gather(1, chosen.clamp_min(0)).clamp_min(torch.finfo(torch.float64).tiny)
        misfits[scoring] = _misfit((weights / scores), chosen >= 0)
    best = min(misfits, key=lambda scoring: misfits[scoring])
    others = [misfit for scoring, misfit in misfits.items() if scoring != best]
    is_clear = all(misfit > CLEARER * misfits[best] for misfit in others)
    return best if misfits[best] <= TOLERANCE and is_clear else None


def _misfit(ratios: Tensor, is_given: Tensor) -> float:
    """How far (N, K) weights over scores are from one number for each token; where a token has one, for all tokens."""
    tokens = ratios[is_given.all(dim=1)]
    if tokens.shape[1] == 1 or not len(tokens):
        tokens = ratios[is_given][None]
    if tokens.shape[1] == 1:
        return float((tokens - 1).abs().max())
    low, high = tokens.aminmax(dim=1)
    return float(((high - low) / high).max()) if bool((low > 0).all()) else math.inf
