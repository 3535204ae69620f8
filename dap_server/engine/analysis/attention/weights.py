"""Attention weights from what a kernel was given: only of the rows asked, whatever kernel ran.

Kernels such as SDPA and flash attention give no weights. Four ways lead to them, and a call of attention goes one:

- `DispatchedCall`: transformers handed the call to a kernel. The model's own eager function computes the rows from the
  very same tensors, before any packing.
- `FusedCall`: somebody called `scaled_dot_product_attention` directly; the rows are computed by its definition.
- `MultiheadCall`: so did `torch.nn.MultiheadAttention`; torch's own function is asked for the weights.
- `OwnSoftmax`: the model computed a softmax itself; the weights are its result. So is `EditedCall`, where somebody has
  changed the pattern.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dap_server.engine.execution.attention.masks import ALL, added_mask, window_of
from dap_server.engine.execution.attention.text import AttentionText

NOTHING_LEFT = 1e-4
"""A share below this is rounding in float32, unless the module is known to have a sink."""

CHUNK_BYTES = 16 * 1024 * 1024
"""The scores of so many rows are computed at once."""

Kind = Literal["self", "cross", "encoder"]


class Rows(NamedTuple):
    """Some query rows of one sequence.

    Attributes:
        weights: (H, T', S); NaN in rows whose every key is masked.
        sink: (H, T') the share that no key gets because a learnt sink takes it; None without one.
    """

    weights: Tensor
    sink: Tensor | None


class _Seen(NamedTuple):
    """Rows of which nothing has been read yet.

    Attributes:
        weights: (H, T', S) so that they sum to 1 without the sink; NaN in rows whose every key is masked.
        left: (H, T') what they leave of 1.
        hidden: (H or 1, T') rows whose every key is masked.
        is_shared: () whether a sink's share had to be taken off; else the weights are as the model has them.
        dtype: that the model has them in.
    """

    weights: Tensor
    left: Tensor
    hidden: Tensor
    is_shared: Tensor
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class AttentionCall(ABC):
    """One call of attention, as it was given.

    Attributes:
        module: that made it.
        path: of the module.
        kernel: what ran, such as `sdpa`.
        text: which tokens stand behind its queries and keys.
    """

    source: ClassVar[str]
    """How it was heard of."""

    module: nn.Module
    path: str = ""
    kernel: str = "eager"
    text: AttentionText = field(default_factory=AttentionText)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """B, H, T, S."""

    @property
    def window(self) -> int | None:
        """How many keys a query may look at, itself among them, where the call or its module says so."""
        return window_of(self.module, {})

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    def kind(self, sequence: int) -> Kind:
        """`encoder` for queries that see what comes after them, as far as the first row tells that is not masked."""
        text, queries = self.text, self.shape[2]
        if text.is_cross:
            return "cross"
        row = max(text.start(sequence) - text.first_query, 0)
        if row >= queries - 1:
            return "self"
        weights = self.weights(sequence, slice(row, row + 1))
        later = text.first_query + row + 1 - text.first_key
        return "encoder" if bool((weights[..., later:].nan_to_num() > 0).any()) else "self"

    @abstractmethod
    def rows(self, sequence: int, rows: slice = ALL) -> Rows:
        """Some query rows of one sequence, all heads. Takes memory for that many rows, and a few times more."""

    def weights(self, sequence: int, rows: slice = ALL) -> Tensor:
        """(H, T', S)."""
        return self.rows(sequence, rows).weights

    def unread_weights(self, sequence: int, rows: slice = ALL) -> Tensor:
        """(H, T', S) with the same values, perhaps in a wider type, without the host waiting for the device."""
        return self.weights(sequence, rows)

    def rows_at_once(self) -> int:
        """How many rows `rows` may be asked for so that it stays small."""
        _, heads, _, keys = self.shape
        return max(1, CHUNK_BYTES // (4 * heads * max(keys, 1)))


@dataclass(frozen=True, kw_only=True)
class KernelCall(AttentionCall):
    """What a kernel was given of queries and keys.

    Attributes:
        query: (B, H, T, D).
        key: (B, H or fewer when heads share them, S, D).
    """

    query: Tensor
    key: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.query.shape[0], self.query.shape[1], self.query.shape[2], self.key.shape[2]

    @property
    def device(self) -> torch.device:
        return self.query.device


@dataclass(frozen=True, kw_only=True)
class DispatchedCall(KernelCall):
    """What one attention function of transformers was given.

    Attributes:
        value: (B, H or fewer when heads share them, S, D).
        mask: as the kernel takes it: None, boolean, or added to the scores; (B or 1, H or 1, T, S); (B, S) for flash
            attention; a BlockMask for flex attention.
        options: scaling, soft-capping, sinks, bias and what else the model passes.
        eager: the model's own function that gives weights.
        is_eager: whether that is also the function that ran.
    """

    source: ClassVar[str] = "AttentionInterface"

    value: Tensor
    mask: Any
    options: dict[str, Any]
    eager: Callable[..., Any]
    is_eager: bool

    @property
    def window(self) -> int | None:
        return window_of(self.module, self.options)

    def rows(self, sequence: int, rows: slice = ALL) -> Rows:
        seen = self._seen(sequence, rows)
        weights = seen.weights if bool(seen.is_shared) else seen.weights.to(seen.dtype)
        known = any(x is not None for x in (getattr(self.module, "sinks", None), self.options.get("s_aux")))
        if not known and not bool(((seen.left > _noise(seen.dtype)) & ~seen.hidden).any()):
            return Rows(weights, None)
        return Rows(weights, seen.left.masked_fill(seen.hidden, math.nan))

    def unread_weights(self, sequence: int, rows: slice = ALL) -> Tensor:
        return self._seen(sequence, rows).weights

    @torch.no_grad()
    def _seen(self, sequence: int, rows: slice) -> _Seen:
        one = slice(sequence, sequence + 1)
        mask = added_mask(self, sequence, rows)  # (1, H or 1, T', S)
        options = {k: _of_rows(v, self.shape, one, rows) for k, v in self.options.items()}
        ones = self.value.new_ones(
            1, self.value.shape[1], self.value.shape[2], 1
        )  # what comes out is the sum of weights
        out, given = self.eager(
            self.module, self.query[one, :, rows], self.key[one], ones, mask, **{**options, "dropout": 0.0}
        )[:2]
        weights, mass = (
            given[0],
            out[0, ..., 0].transpose(0, 1).float(),
        )  # (H, T') what is left of values that are all 1
        hidden = (mask <= torch.finfo(mask.dtype).min / 2).all(dim=-1)[0]
        total = weights.float().sum(dim=-1)
        is_shared = ((total - mass).abs() > _noise(weights.dtype)).logical_and(~hidden).any()
        seen = weights * torch.where(is_shared, mass / total, 1.0)[..., None]  # the sink's share is off the output
        left = (1 - torch.where(is_shared, mass, total)).clamp_min(0)
        return _Seen(seen.masked_fill(hidden[..., None], math.nan), left, hidden, is_shared, weights.dtype)


@dataclass(frozen=True, kw_only=True)
class FusedCall(KernelCall):
    """A call of `torch.nn.functional.scaled_dot_product_attention`.

    Attributes:
        mask: boolean or added to the scores, broadcast to (B, H, T, S); None without one.
        scale: of the scores.
        is_causal: whether row i sees keys 0 … i only.
    """

    source: ClassVar[str] = "scaled_dot_product_attention"

    mask: Tensor | None = None
    scale: float | None = None
    is_causal: bool = False

    @torch.no_grad()
    def rows(self, sequence: int, rows: slice = ALL) -> Rows:
        batch, heads, queries, keys = self.shape
        query = (
            self.query[sequence, :, rows].float() if self.query.dtype != torch.double else self.query[sequence, :, rows]
        )
        key = self.key[sequence].to(query.dtype).repeat_interleave(heads // self.key.shape[1], dim=0)  # (H, S, D)
        scale = query.shape[-1] ** -0.5 if self.scale is None else self.scale
        scores = (query @ key.transpose(1, 2)) * scale  # (H, T', S)
        if self.is_causal:
            at = torch.arange(queries, device=query.device)[rows]
            scores = scores.masked_fill(torch.arange(keys, device=query.device)[None] > at[:, None], -math.inf)
        if self.mask is not None:
            mask = self.mask.expand(batch, heads, queries, keys)[sequence, :, rows]
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else scores + mask
        hidden = (scores <= torch.finfo(self.query.dtype).min / 2).all(dim=-1, keepdim=True)
        return Rows(scores.softmax(dim=-1).masked_fill(hidden, math.nan), None)


@dataclass(frozen=True, kw_only=True)
class MultiheadCall(AttentionCall):
    """A call of `torch.nn.functional.multi_head_attention_forward`, as `torch.nn.MultiheadAttention` makes it.

    Attributes:
        arguments: by name; `query` (T, B, D), `key` and `value` (S, B, D).
    """

    source: ClassVar[str] = "multi_head_attention_forward"

    arguments: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        given = self.arguments
        keys = given["key"].shape[0] + (given["bias_k"] is not None) + bool(given["add_zero_attn"])
        return given["query"].shape[1], given["num_heads"], given["query"].shape[0], keys

    @property
    def device(self) -> torch.device:
        device: torch.device = self.arguments["query"].device
        return device

    @torch.no_grad()
    def rows(self, sequence: int, rows: slice = ALL) -> Rows:
        given, heads = dict(self.arguments), self.arguments["num_heads"]
        one, of_heads = slice(sequence, sequence + 1), slice(sequence * heads, (sequence + 1) * heads)
        given["query"] = given["query"][rows, one]
        given["key"], given["value"] = given["key"][:, one], given["value"][:, one]
        if given["key_padding_mask"] is not None:
            given["key_padding_mask"] = given["key_padding_mask"][one]
        if (mask := given["attn_mask"]) is not None:
            given["attn_mask"] = mask[rows] if mask.dim() == 2 else mask[of_heads, rows]
        for name in ("static_k", "static_v"):
            given[name] = None if given[name] is None else given[name][of_heads]
        given |= {"need_weights": True, "average_attn_weights": False, "is_causal": False, "training": False}
        weights = nn.functional.multi_head_attention_forward(**given)[1]
        assert weights is not None
        return Rows(weights[0], None)


@dataclass(frozen=True, kw_only=True)
class OwnSoftmax(AttentionCall):
    """A softmax that the model computed itself.

    Attributes:
        values: (B, H, T, S) its result.
        hidden: (B, H, T) rows whose every key was masked.
    """

    source: ClassVar[str] = "softmax"

    values: Tensor
    hidden: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, heads, queries, keys = self.values.shape
        return batch, heads, queries, keys

    @property
    def device(self) -> torch.device:
        return self.values.device

    @torch.no_grad()
    def rows(self, sequence: int, rows: slice = ALL) -> Rows:
        hidden = self.hidden[sequence, :, rows, None]
        return Rows(self.values[sequence, :, rows].masked_fill(hidden, math.nan), None)


@dataclass(frozen=True, kw_only=True)
class EditedCall(OwnSoftmax):
    """A call of any kind whose pattern somebody has changed, which `values` are."""

    source: ClassVar[str] = "edited"


def _noise(dtype: torch.dtype) -> float:
    """A share below this is rounding."""
    return max(NOTHING_LEFT, 8 * torch.finfo(dtype).eps)


def _of_rows(value: Any, shape: tuple[int, int, int, int], one: slice, rows: slice) -> Any:
    """An option that has values for every query, such as a position bias or sinks, cut to the rows."""
    batch, _, queries, keys = shape
    if (
        not isinstance(value, Tensor)
        or value.dim() != 4
        or value.shape[-2] != queries
        or value.shape[-1] not in (1, keys)
    ):
        return value
    return (value[one] if value.shape[0] == batch else value)[..., rows, :]
