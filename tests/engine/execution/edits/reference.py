"""Attention by hand, in float64, as every model that lets transformers dispatch can be made to use it.

It shares nothing with the debugger: an edit is a function that a test writes down for scores and shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "by_hand"

Edit = Callable[[Any, Tensor], Tensor]
"""What becomes of scores or shares (B, H, T, S); it is told the attention module."""


@contextmanager
def attention_by_hand(model: Any, scores: Edit, shares: Edit) -> Iterator[None]:
    """The model attends by hand while this is open. `shares` are what is left for the keys beside a sink."""

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **given: Any) -> Any:
        heads = query.shape[1]
        q = query.double()
        k, v = (states.double().repeat_interleave(heads // states.shape[1], dim=1) for states in (key, value))
        scaling = given.get("scaling")
        found = q @ k.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        if (cap := given.get("softcap")) is not None:
            found = cap * torch.tanh(found / cap)
        if (bias := given.get("position_bias")) is not None:
            found = found + bias.double()
        if mask is not None:
            found = found.masked_fill(mask[..., : key.shape[2]] < torch.finfo(mask.dtype).min / 2, -1e300)
        edited = torch.where(found < -1e200, found, scores(module, found))
        sinks = getattr(module, "sinks", None)
        if sinks is not None:
            edited = torch.cat([edited, sinks.double().view(1, -1, 1, 1).expand(*edited.shape[:3], 1)], dim=-1)
        pattern = edited.softmax(-1)[..., : key.shape[2]]
        pattern = torch.where(found < -1e200, pattern, shares(module, pattern))
        return (pattern @ v).transpose(1, 2).to(query.dtype).contiguous(), None

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    before = [(config, config._attn_implementation) for config in _configs(model)]
    for config, _ in before:
        config._attn_implementation_internal = NAME
    try:
        yield
    finally:
        for config, name in before:
            config._attn_implementation_internal = name
        del ALL_ATTENTION_FUNCTIONS._global_mapping[NAME], ALL_MASK_ATTENTION_FUNCTIONS._global_mapping[NAME]


def _configs(model: Any) -> list[Any]:
    """Every module's own: an encoder has a copy."""
    found = {id(config): config for m in model.modules() if (config := getattr(m, "config", None)) is not None}
    return list(found.values())
