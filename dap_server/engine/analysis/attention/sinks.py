"""Rows of attention without one key: what is left of them when a sink is not looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from dap_server.engine.analysis.attention.weights import AttentionCall

Sink = Literal["first", "highest"]


def sink_keys(
    call: AttentionCall, sequence: int, which: Sink, rows: range, report: Callable[[int, int], None]
) -> list[int | None]:
    """The index of a key for every head: of the first token of the text, or of the one that has most of the weight.

    Args:
        rows: the query rows that count for `highest`.
        report: called between pieces of work with how many rows are done, and of how many; what it raises ends it.

    Returns:
        None where a window hides the first token.
    """
    _, heads, _, keys = call.shape
    if which == "first":
        first = call.text.start(sequence) - call.text.first_key
        return [first if 0 <= first < keys else None] * heads
    total = torch.zeros(heads, keys, dtype=torch.float64, device=call.device)
    size = call.rows_at_once()
    for start in range(rows.start, rows.stop, size):
        report(start - rows.start, len(rows))
        weights = call.weights(sequence, slice(start, min(start + size, rows.stop)))
        total += weights.double().nan_to_num().sum(dim=1)
    return list(total.argmax(dim=-1).tolist())


def without(weights: Tensor, keys: Sequence[int | None]) -> Tensor:
    """Rows that sum to 1 without one key of each head; NaN where it was all there was.

    Args:
        weights: (H, T, S).
        keys: by head.
    """
    rest = weights.clone()
    for head, key in enumerate(keys):
        if key is not None:
            rest[head, :, key] = 0
            rest[head] /= rest[head].sum(dim=-1, keepdim=True)
    return rest
