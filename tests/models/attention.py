"""Attention weights that the debugger works out, against calculations that share nothing with it.

`largest_difference` takes one call of attention, `differences_in_step` all those of a step that is replayed, and
`difference_from_eager_run` holds a step against the weights that an eager run itself returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from dap_server.engine.analysis.attention.capture import attention_calls
from dap_server.engine.analysis.attention.weights import (
    AttentionCall,
    DispatchedCall,
    FusedCall,
    MultiheadCall,
    OwnSoftmax,
)
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.generation import Tape

EXACT = 1e-6
"""What may be between two float32 calculations of the same weights from the same tensors."""


class Differences(NamedTuple):
    """Of one step.

    Attributes:
        calls: how many calls of attention there were; 0 for a model without attention.
        sources: how they were heard of: `AttentionInterface`, `scaled_dot_product_attention`, `softmax` …
        largest: of all of them.
    """

    calls: int
    sources: list[str]
    largest: float


def differences_in_step(tape: Tape, step: int, anatomy: Anatomy, path: str = "") -> Differences:
    """Of every call of attention in a step, or in one module of it."""
    calls = attention_calls(tape, step, path, anatomy)
    sources = sorted({call.source for call in calls})
    return Differences(len(calls), sources, max(map(largest_difference, calls), default=0.0))


def largest_difference(call: AttentionCall) -> float:
    """Between our rows, asked for a few at a time, and the whole matrix worked out in another way; all sequences.

    Rows without an open key are left out; so is what is no number in either of the two.
    """
    batch, heads, queries, keys = call.shape
    ours = torch.stack([_in_pieces(call, b) for b in range(batch)])  # (B, H, T, S)
    assert ours.shape == (batch, heads, queries, keys)
    if isinstance(call, DispatchedCall):
        return _dispatched(call, ours)
    if isinstance(call, FusedCall):
        return _fused(call, ours)
    if isinstance(call, MultiheadCall):
        return _multihead(call, ours)
    assert isinstance(call, OwnSoftmax)
    sums = ours.double().sum(-1)
    return _largest(sums - 1) if bool((sums > 0.999).any()) else 0.0


def difference_from_eager_run(calls: Sequence[AttentionCall], returned: Sequence[Tensor | None]) -> float:
    """Between calls, in order, and the weights (B, H, T, S) that a run with `output_attentions=True` returned."""
    given = [weights for weights in returned if weights is not None]
    assert len(given) == len(calls), f"{len(calls)} calls of attention, {len(given)} matrices returned"
    return max(
        (_largest(_whole(call) - (_less_sink(call, weights) if isinstance(call, DispatchedCall) else weights))
         for call, weights in zip(calls, given, strict=True)), default=0.0
    )  # fmt: skip


def _whole(call: AttentionCall) -> Tensor:
    """(B, H, T, S)."""
    return torch.stack([call.weights(b) for b in range(call.shape[0])])


def _in_pieces(call: AttentionCall, sequence: int, size: int = 3) -> Tensor:
    """(H, T, S)."""
    queries = call.shape[2]
    return torch.cat([call.weights(sequence, slice(i, i + size)) for i in range(0, queries, size)], dim=1)


@torch.no_grad()
def _dispatched(call: DispatchedCall, ours: Tensor) -> float:
    """From the eager function fed everything at once, and by the output of the kernel that ran."""
    options = {**call.options, "dropout": 0.0}
    mask = _as_eager_takes_it(call)
    theirs: Tensor = call.eager(call.module, call.query, call.key, call.value, mask, **options)[1]
    kernel: Any = call.eager if call.is_eager else ALL_ATTENTION_FUNCTIONS[call.kernel]
    output: Tensor = kernel(call.module, call.query, call.key, call.value, call.mask, **options)[0]  # (B, T, H, D)
    values = _shared(call.value, call.shape[1])
    mixed = (ours.nan_to_num().to(values.dtype) @ values).transpose(1, 2)
    hidden = ours.isnan().all(-1)  # (B, H, T)
    from_output = (mixed - output.reshape(mixed.shape)).masked_fill(hidden.transpose(1, 2)[..., None], 0.0)
    scale = max(float(values.abs().max()), 1.0)
    return max(_largest(ours - _less_sink(call, theirs)), _largest(from_output) / scale)


def _less_sink(call: DispatchedCall, weights: Tensor) -> Tensor:
    """(B, H, T, S) without the share of a learnt sink, which some models take off the output instead."""
    sinks = getattr(call.module, "sinks", None)
    if not isinstance(sinks, Tensor) or float((weights.sum(-1) - 1).abs().max()) > 1e-3:
        return weights
    keys = _shared(call.key, call.shape[1]).double()
    scores = call.query.double() @ keys.transpose(2, 3) * call.options["scaling"]
    total = torch.logsumexp(scores + (_as_eager_takes_it(call)), dim=-1)  # (B, H, T)
    return weights * torch.sigmoid(total - sinks.double().view(1, -1, 1))[..., None]


def _as_eager_takes_it(call: DispatchedCall) -> Tensor | None:
    """(B, H, T, S) added to the scores; written down anew from what the kernels' documentation says of their masks."""
    batch, _, queries, keys = call.shape
    lowest = torch.finfo(call.query.dtype).min
    if isinstance(call.mask, Tensor) and call.mask.dim() == 4:
        if call.mask.dtype is not torch.bool:
            return call.mask
        return torch.zeros(call.mask.shape, dtype=call.query.dtype).masked_fill(~call.mask, lowest)
    assert call.mask is None, "other forms of mask have tests of their own"
    causal = call.options.get("is_causal")
    causal = getattr(call.module, "is_causal", True) if causal is None else causal
    open_ = torch.zeros(batch, 1, queries, keys, dtype=call.query.dtype)
    if call.is_eager or not causal or queries == 1:
        return open_
    later = torch.tensor([[k > q for k in range(keys)] for q in range(queries)])
    return open_.masked_fill(later, lowest)


@torch.no_grad()
def _fused(call: FusedCall, ours: Tensor) -> float:
    """From the kernel itself: values that are unit vectors bring its weights out, a few keys at a time."""
    _, heads, _, keys = call.shape
    found = []
    width = call.query.shape[-1]
    for start in range(0, keys, width):
        unit = torch.zeros(call.key.shape[0], heads, keys, width, dtype=call.query.dtype)
        for i in range(min(width, keys - start)):
            unit[:, :, start + i, i] = 1
        weights = nn.functional.scaled_dot_product_attention(
            call.query, _shared(call.key, heads), unit, call.mask, is_causal=call.is_causal, scale=call.scale
        )
        found.append(weights[..., : min(width, keys - start)])
    return _largest(ours - torch.cat(found, dim=-1))


@torch.no_grad()
def _multihead(call: MultiheadCall, ours: Tensor) -> float:
    """From what torch's function returns for all rows and sequences at once."""
    given = {**call.arguments, "need_weights": True, "average_attn_weights": False, "is_causal": False}
    theirs = nn.functional.multi_head_attention_forward(**given)[1]
    assert theirs is not None
    return _largest(ours - theirs)


def _shared(states: Tensor, heads: int) -> Tensor:
    """(B, H, S, D) of (B, fewer, S, D)."""
    return states.repeat_interleave(heads // states.shape[1], dim=1)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().nan_to_num(0.0).max()) if difference.numel() else 0.0
