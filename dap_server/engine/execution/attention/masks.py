"""Which keys a query may look at, as eager attention is told: whatever kind of mask another kernel was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

ALL = slice(None)


class Given(Protocol):
    """What a kernel was given.

    Attributes:
        kernel: what ran, such as `sdpa`.
        query: (B, H, T, D).
        key: (B, H or fewer when heads share them, S, D).
        mask: None, boolean, or added to the scores; (B or 1, H or 1, T, S); (B, S) for flash attention; a BlockMask for
            flex attention.
        is_eager: whether the model's own eager function ran.
    """

    @property
    def module(self) -> nn.Module: ...
    @property
    def kernel(self) -> str: ...
    @property
    def query(self) -> Tensor: ...
    @property
    def key(self) -> Tensor: ...
    @property
    def mask(self) -> Any: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def is_eager(self) -> bool: ...


def window_of(module: nn.Module, options: Mapping[str, Any]) -> int | None:
    """How many keys a query may look at, itself among them, where the call or its module says so."""
    for size in (options.get("sliding_window"), getattr(module, "sliding_window", None)):
        if isinstance(size, int) and size > 0:
            return size
    return None


def added_mask(given: Given, sequence: int, rows: slice = ALL) -> Tensor:
    """(1, H or 1, T', S) the mask of one sequence as eager attention takes it: added to the scores."""
    queries, keys = given.query.shape[2], given.key.shape[2]
    mask = given.mask
    if isinstance(mask, Tensor) and mask.dim() == 4:
        mask = (mask[sequence : sequence + 1] if mask.shape[0] > 1 else mask)[
            ..., rows if mask.shape[-2] == queries else ALL, :
        ]
        if mask.dtype is not torch.bool:
            return mask
    else:
        mask = _allowed(given, sequence, torch.arange(queries, device=given.query.device)[rows])
    mask = mask.expand(*mask.shape[:3], keys)
    lowest = torch.finfo(given.query.dtype).min
    return torch.where(mask, torch.zeros((), dtype=given.query.dtype, device=given.query.device), lowest)


def _allowed(given: Given, sequence: int, at: Tensor) -> Tensor:
    """(1, H or 1, T', S) for the rows `at` (T',), where the kernel was given no mask, or its own kind of one."""
    queries, keys = given.query.shape[2], given.key.shape[2]
    every = torch.arange(keys, device=at.device)
    if hasattr(given.mask, "mask_mod"):  # flex attention
        return _of_block_mask(given.mask.mask_mod, sequence, given.query.shape[1], at, every)
    known, is_flash = keys, "flash" in given.kernel
    allowed = torch.ones(1, keys, dtype=torch.bool, device=at.device)
    if isinstance(given.mask, Tensor):  # flash attention: which keys are no padding; a static cache has more slots
        known = given.mask.shape[-1]
        allowed = nn.functional.pad(
            given.mask.bool()[sequence % given.mask.shape[0], None, -keys:], (0, max(keys - known, 0))
        )
        known = min(known, keys)
        is_flash = True
    causal = given.options.get("is_causal")
    causal = getattr(given.module, "is_causal", True) if causal is None else causal
    own = at[:, None] + (known - queries if is_flash else 0)  # SDPA counts from the first key, flash to the last one
    if causal and queries > 1 and not (given.is_eager and given.mask is None):
        allowed = allowed & (every[None] <= own)
    if is_flash and (window := window_of(given.module, given.options)) is not None and known > window:
        allowed = allowed & ((own - every[None]).abs() < window)
    return allowed.expand(at.shape[0], keys)[None, None]


def _of_block_mask(
    allows: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], sequence: int, heads: int, at: Tensor, keys: Tensor
) -> Tensor:
    """(1, H, T', S) of a flex attention mask, which is a function of batch, head, query and key."""
    by_key = torch.vmap(allows, in_dims=(None, None, None, 0))
    by_row = torch.vmap(by_key, in_dims=(None, None, 0, None))
    by_head = torch.vmap(by_row, in_dims=(None, 0, None, None))
    head = torch.arange(heads, device=at.device)
    return by_head(torch.tensor(sequence, device=at.device), head, at, keys).bool()[None]
