"""Attention that a module computes itself: which softmax it is, and which of its axes mean what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dap_server.engine.execution.attention.text import RunningCall

SOFTMAX = frozenset([torch.softmax, Tensor.softmax, functional.softmax, torch.special.softmax])
PRODUCTS = frozenset([torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum])


def is_softmax_over_keys(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], running: Sequence[RunningCall]
) -> bool:
    """Scores over the last axis are attention if they are (B, H, T, S) or (B · H, T, S) for the states at hand.

    Args:
        function: of torch, with what it is given.
        running: the module calls around it.
    """
    if function not in SOFTMAX or not args or not isinstance(args[0], Tensor):
        return False
    scores, dim = args[0], kwargs.get("dim", args[1] if len(args) > 1 else None)
    if dim is None or scores.dim() not in (3, 4) or dim % scores.dim() != scores.dim() - 1:
        return False
    batch = batch_of(running)
    if scores.dim() == 3 and (scores.shape[0] % batch or scores.shape[0] == batch):
        return False
    shape = with_heads(scores, batch).shape
    return (shape[0], shape[2]) in _states(running)


def axes_of_product(function: Any, args: tuple[Any, ...], shape: tuple[int, int, int, int]) -> list[int] | None:
    """Which axes of a product are sequence, query, head and width, if weights (B, H, T, S) are one of its factors.

    A sink's column may be gone from the weights, and B · H one axis of them and of the product.
    """
    b, h, t, s = shape
    if function is not torch.einsum:
        first = args[0]
        if not isinstance(first, Tensor) or first.dim() not in (3, 4) or not 0 <= s - first.shape[-1] <= 1:
            return None
        is_factor = first.shape[-2] == t and first.numel() == b * h * t * first.shape[-1]
        return [0, 2, 1, 3] if is_factor else None
    inputs, _, output = args[0].replace(" ", "").partition("->")
    factors = args[1] if isinstance(args[1], list | tuple) else args[1:]
    for letters, factor in zip(inputs.split(","), factors, strict=True):
        is_factor = len(letters) == 4 and factor.shape[:3] == (b, h, t) and 0 <= s - factor.shape[3] <= 1
        if is_factor and len(output) == 4 and set(letters[:3]) < set(output) and letters[3] not in output:
            (width,) = set(output) - set(letters)
            return [output.index(letter) for letter in (letters[0], letters[2], letters[1], width)]
    return None


def with_heads(tensor: Tensor, batch: int) -> Tensor:
    """(B, H, T, D) of (B · H, T, D), of (T, D) and of itself."""
    if tensor.dim() == 4:
        return tensor
    tensor = tensor.reshape(-1, *tensor.shape[-2:])
    heads = tensor.shape[0] // batch if tensor.shape[0] % batch == 0 else tensor.shape[0]
    return tensor.reshape(-1, heads, *tensor.shape[1:])


def batch_of(running: Sequence[RunningCall]) -> int:
    """B of the call of the whole model, as far as its arguments tell."""
    for call in running:
        for value in call.arguments.values():
            if isinstance(value, Tensor) and value.dim() >= 2:
                return value.shape[0]
    return 1


def _states(running: Sequence[RunningCall]) -> set[tuple[int, int]]:
    """(B, T) of the states (B, T, D), or (T, B, D), that the calls around were given."""
    shapes = [
        value.shape[:2]
        for call in running
        for value in call.arguments.values()
        if isinstance(value, Tensor) and value.dim() == 3
    ]
    return {(a, b) for a, b in shapes} | {(b, a) for a, b in shapes}


def hidden_rows(scores: Tensor) -> Tensor:
    """(…, T) of scores (…, T, S): rows whose every key is masked."""
    return ~(scores > torch.finfo(scores.dtype).min / 2).any(dim=-1)
