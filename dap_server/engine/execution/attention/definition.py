"""Attention as it is defined, for what has to see or change it on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dap_server.engine.execution.attention.seam import Run


def scores_of(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    """(B, H, T, S) as the documentation of `scaled_dot_product_attention` defines them, at least in float32."""
    heads, lowest = query.shape[1], torch.finfo(torch.float32).min
    wide = torch.promote_types(query.dtype, torch.float32)
    keys = key.repeat_interleave(heads // key.shape[1], dim=1).to(wide)
    scores = query.to(wide) @ keys.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, lowest)
    if mask is None:
        return scores
    if mask.dtype is torch.bool:
        return scores.masked_fill(~mask, lowest)
    return (scores + mask).masked_fill(mask <= torch.finfo(mask.dtype).min / 2, lowest)


class Passing(TorchFunctionMode):
    """Has functions of torch run by somebody."""

    def __init__(self, by: Callable[[Any, tuple[Any, ...], dict[str, Any], Run], Any]) -> None:
        super().__init__()
        self._by = by

    def __torch_function__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        return self._by(function, args, given, lambda: function(*args, **given))


_plain: Any = functional.multi_head_attention_forward
multi_head_attention: Any = FunctionType(
    _plain.__code__, {**_plain.__globals__, "has_torch_function": lambda _: False}, None, _plain.__defaults__
)
"""Torch's function without the lines that hand it to a mode as a whole."""
