"""Distances between distributions, against NumPy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dap_server.engine.analysis.effects.distributions import distance, probability


def softmax(logits: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(logits - logits.max())
    result: np.ndarray = powers / powers.sum()
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_divergence_and_total_variation_are_those_of_the_softmax(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    old, new = (torch.randn(500, generator=generator).mul(4).to(dtype) for _ in range(2))
    p, q = (softmax(logits.double().numpy()) for logits in (old, new))
    found = distance(old, new)
    assert found.kl == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-10)
    assert found.total_variation == pytest.approx(float(np.abs(p - q).sum() / 2), rel=1e-10)
    assert not found.is_same
    assert probability(old, 7) == pytest.approx(float(p[7]), rel=1e-12)


def test_the_same_logits_are_no_distance_apart() -> None:
    logits = torch.randn(9)
    assert distance(logits, logits.clone()).is_same
    assert (distance(logits, logits).kl, distance(logits, logits).total_variation) == (0.0, 0.0)


def test_shifted_logits_are_others_and_the_same_distribution() -> None:
    found = distance(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    assert not found.is_same
    assert found.kl == pytest.approx(0.0, abs=1e-15)


def test_a_token_that_is_banned_is_infinitely_far_and_one_that_was_is_not() -> None:
    free, banned = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, -math.inf])
    assert distance(free, banned).kl == math.inf
    assert distance(free, banned).total_variation == pytest.approx(1 / 3)
    assert distance(banned, free).kl == pytest.approx(math.log(3 / 2))


def test_what_is_not_finite_stays_so() -> None:
    found = distance(torch.zeros(3), torch.tensor([0.0, math.nan, 0.0]))
    assert math.isnan(found.kl)
    assert math.isnan(found.total_variation)
