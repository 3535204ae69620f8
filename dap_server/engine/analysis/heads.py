"""What an attention head does, as numbers and in a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NAMED_FROM = 0.4
"""A head has the kind of its highest score, if that is at least this."""


@dataclass(frozen=True)
class HeadSummary:
    """One head over the query rows at hand.

    Attributes:
        entropy: mean over rows, in nats.
        first: mean share of the first key.
        distance: mean of how many positions back it looks.
        scores: by kind: `previous token`, `duplicate`, `induction`, `sink`; mean weight on the keys that define it.
    """

    entropy: float
    first: float
    distance: float
    scores: dict[str, float]

    @property
    def kind(self) -> str:
        """The kind with the highest score; `mixed` when none is high."""
        kind, score = max(self.scores.items(), key=lambda item: item[1])
        return kind if score >= NAMED_FROM else "mixed"


def summarize(weights: Tensor, tokens: Sequence[int], offset: int) -> list[HeadSummary]:
    """Of every head.

    Args:
        weights: (H, T, S).
        tokens: the S ids of the keys.
        offset: position of the first query row among the keys.
    """
    _, queries, keys = weights.shape
    ids = torch.tensor(list(tokens[:keys]), device=weights.device)  # (S,)
    at = torch.arange(queries, device=weights.device) + offset  # (T,) positions of the queries
    back = at[:, None] - torch.arange(keys, device=weights.device)[None]  # (T, S)
    same = (ids[None] == ids[at][:, None]) & (back > 0)
    after_same = torch.zeros_like(same)
    after_same[:, 1:] = same[:, :-1]
    after_same &= back > 0
    values = weights.double().nan_to_num()
    masks = {"previous token": back == 1, "duplicate": same, "induction": after_same}
    scores = {kind: _mean_on(values, mask) for kind, mask in masks.items()}
    later = at > 0  # the first token has nowhere else to look
    first = values[:, later, 0].mean(dim=1) if bool(later.any()) else torch.zeros(values.shape[0]).double()
    scores["sink"] = first
    entropy = -(values * values.clamp_min(1e-300).log()).sum(-1).mean(1)
    distance = (values * back.clamp_min(0)).sum(-1).mean(1)
    return [
        HeadSummary(float(entropy[h]), float(first[h]), float(distance[h]), {k: float(s[h]) for k, s in scores.items()})
        for h in range(weights.shape[0])
    ]


def _mean_on(values: Tensor, mask: Tensor) -> Tensor:
    """(H,) weight on the marked keys, averaged over the query rows that have one; 0 without any."""
    rows = mask.any(dim=1)
    if not bool(rows.any()):
        return torch.zeros(values.shape[0], dtype=values.dtype, device=values.device)
    return (values * mask).sum(-1)[:, rows].mean(dim=1)
