"""Attention weights of any layer under any kernel, from what transformers hands to its attention functions.

Kernels such as SDPA and flash attention give no weights. They are computed here from the very tensors that the kernel
was given, before any packing, by the function that the model itself would run eagerly; and only for the rows that are
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.probes import Enough


@dataclass(frozen=True)
class AttentionCall:
    """What one attention function was given.

    Attributes:
        query: (B, H, T, D).
        key, value: (B, H or fewer when heads share them, S, D).
        mask: as the kernel takes it: None, boolean, or added to the scores; (B or 1, H or 1, T, S).
        options: scaling, soft-capping, sinks, bias and what else the model passes.
        eager: the model's own function that gives weights.
        is_eager: whether that is also the function that ran.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    options: dict[str, Any]
    eager: Callable[..., Any]
    is_eager: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """B, H, T, S."""
        return self.query.shape[0], self.query.shape[1], self.query.shape[2], self.key.shape[2]

    @torch.no_grad()
    def weights(self, sequence: int, rows: slice = slice(None)) -> Tensor:
        """(H, T', S) weights of some query rows of one sequence; NaN in rows whose every key is masked."""
        one = slice(sequence, sequence + 1)
        mask = self._added_mask()
        mask = None if mask is None else (mask[one] if mask.shape[0] > 1 else mask)[..., rows, :]
        options = {k: _of_rows(v, self.shape, one, rows) for k, v in self.options.items()}
        query, key, value = self.query[one, :, rows], self.key[one], self.value[one]
        weights: Tensor = self.eager(self.module, query, key, value, mask, **{**options, "dropout": 0.0})[1]
        if mask is None:
            return weights[0]
        hidden = (mask <= torch.finfo(mask.dtype).min / 2).all(dim=-1, keepdim=True)
        return weights[0].masked_fill(hidden[0], math.nan)

    def _added_mask(self) -> Tensor | None:
        """The mask as eager attention takes it: added to the scores."""
        lowest = torch.finfo(self.query.dtype).min
        _, _, queries, keys = self.shape
        if self.mask is None:
            causal = self.options.get("is_causal")
            causal = getattr(self.module, "is_causal", True) if causal is None else causal
            if self.is_eager or queries == 1 or not causal:
                return None
            allowed = torch.ones(queries, keys, dtype=torch.bool, device=self.query.device).tril()
            allowed = allowed[None, None]
        elif self.mask.dtype is torch.bool:
            allowed = self.mask
        elif self.mask.dim() == 2:  # flash attention: which keys are no padding
            allowed = self.mask.bool()[:, None, None, -keys:].expand(-1, 1, queries, -1)
            if queries > 1:
                allowed = allowed & torch.ones(queries, keys, dtype=torch.bool, device=allowed.device).tril(
                    keys - queries
                )
        else:
            return self.mask
        zero = torch.zeros((), dtype=self.query.dtype, device=self.query.device)
        return torch.where(allowed, zero, lowest)


def _of_rows(value: Any, shape: tuple[int, int, int, int], one: slice, rows: slice) -> Any:
    """An option that has a value for every query and key, such as a position bias, cut to the rows."""
    if isinstance(value, Tensor) and value.dim() == 4 and value.shape[-2:] == shape[-2:]:
        return (value[one] if value.shape[0] == shape[0] and shape[0] > 1 else value)[..., rows, :]
    return value


@contextmanager
def reported(report: Callable[[AttentionCall], None]) -> Iterator[None]:
    """Reports every attention function that runs while this is open, eager ones included."""
    original = AttentionInterface.get_interface

    def get_interface(self: Any, implementation: str, default: Callable[..., Any]) -> Callable[..., Any]:
        function = original(self, implementation, default)

        def dispatch(
            module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Any = None, *rest: Any, **kw: Any
        ) -> Any:
            report(AttentionCall(module, q, k, v, mask, kw, default, function is default))
            return function(module, q, k, v, mask, *rest, **kw)

        return dispatch

    type.__setattr__(AttentionInterface, "get_interface", get_interface)
    try:
        yield
    finally:
        type.__setattr__(AttentionInterface, "get_interface", original)


class _Until:
    """Ends a replay once a module has returned."""

    def __init__(self, path: str) -> None:
        self._path = path

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        pass

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path == self._path:
            raise Enough


def attention_calls(tape: Tape, step: int, path: str, modules: dict[str, nn.Module]) -> dict[str, AttentionCall]:
    """The attention functions that ran inside a module in a step, by the path of their module; found by a replay."""
    inside = {module: p for p, module in modules.items() if p == path or p.startswith(f"{path}.") or not path}
    found: dict[str, AttentionCall] = {}

    def report(call: AttentionCall) -> None:
        if call.module in inside:
            found[inside[call.module]] = replace(call, options=dict(call.options))

    with reported(report):
        tape.replay(step, _Until(path))
    return found
