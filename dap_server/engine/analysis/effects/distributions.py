"""How far two distributions of the next token are apart, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Distance:
    """Between two distributions over the same V things.

    Attributes:
        kl: Kullback–Leibler divergence of the second from the first, sum of p log(p / q), in nats. Infinite where
            something that was possible no longer is.
        total_variation: half the sum of |p - q|, from 0 to 1.
        is_same: whether their logits are the same, to the last bit.
    """

    kl: float
    total_variation: float
    is_same: bool


def distance(old: Tensor, new: Tensor) -> Distance:
    """Between the softmax of logits (V,) and that of others (V,), at temperature 1."""
    p_log, q_log = (torch.log_softmax(logits.double(), dim=-1) for logits in (old, new))
    p = p_log.exp()
    terms = torch.where(p > 0, p * (p_log - q_log), torch.zeros_like(p))
    kl = float(terms.sum())
    is_same = torch.equal(old, new)
    return Distance(
        kl=0.0 if is_same else max(kl, 0.0) if kl == kl else kl,  # rounding may bring it below 0
        total_variation=0.0 if is_same else float((p - q_log.exp()).abs().sum() / 2),
        is_same=is_same,
    )


def probability(logits: Tensor, token: int) -> float:
    """Of one of V, by the softmax of logits (V,)."""
    return float(torch.softmax(logits.double(), dim=-1)[token])
