"""Where the heads of a module look from the last position: all at one place, or nowhere in particular."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dap_server.engine.analysis.anomalies.passing import Passing, share
from dap_server.engine.analysis.attention.passing import PassingAttention
from dap_server.engine.analysis.attention.weights import AttentionCall, KernelCall
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.execution.attention.text import UNKNOWN

ON_ONE = 0.999
"""A head that gives one position this much looks at it alone."""

ALIKE = 0.01
"""A head whose entropy is that close to the greatest possible one, in nats, prefers nothing."""

ENOUGH = 4
"""Positions that there have to be: of two or three, one is soon the only one, and all are soon alike."""


class LastRow(NamedTuple):
    """Where the heads of one call look.

    Attributes:
        weights: (H, S), NaN where a head sees nothing.
        first: key of the first token that is no padding; negative where a window has dropped it.
        row: of the call's batch.
    """

    weights: Tensor
    first: int
    call: AttentionCall
    row: int

    @property
    def is_long_enough(self) -> bool:
        return self.weights.shape[-1] - max(self.first, 0) >= ENOUGH

    @property
    def is_blind(self) -> Tensor:
        """(H,) which heads may look at nothing; one whose query or keys are not finite might, for all that is known."""
        blind = self.weights.isnan().all(dim=-1)
        if isinstance(self.call, KernelCall):
            blind &= self.call.query[self.row, :, -1].isfinite().all() & self.call.key[self.row].isfinite().all()
        return blind

    def token(self, key: int) -> int | None:
        """The id of the token behind a key; None where nobody knows."""
        ids = self.call.text.ids_of_keys(self.row, self.weights.shape[-1])
        return None if ids is None or int(ids[key]) == UNKNOWN else int(ids[key])


def collapsed(passing: Passing) -> Tensor:
    """() share of the heads that look at one position only, and not at the first, or that see none at all.

    Of several calls of attention in the module, of itself and of another text, the largest share counts.

    To look at the first one is what heads do that have nothing to do (Xiao et al., "Efficient Streaming Language Models
    with Attention Sinks", 2023).
    """
    return _share_of_heads(passing, is_collapsed)


def uniform(passing: Passing) -> Tensor:
    """() share of the heads that look at all positions alike, as far as they may look."""
    return _share_of_heads(passing, is_uniform)


def is_collapsed(row: LastRow) -> Tensor:
    most, where = row.weights.max(dim=-1)
    return (most >= ON_ONE) & (where != row.first) | row.is_blind


def is_uniform(row: LastRow) -> Tensor:
    weights = row.weights.double()
    seen = weights.sum(dim=-1)  # a sink may have the rest
    shares = weights / seen[:, None]
    among = (shares > 0).sum(dim=-1)
    entropy: Tensor = -torch.special.xlogy(shares, shares).sum(dim=-1)
    return (among.double().log() - entropy < ALIKE) & (among >= ENOUGH) & (seen > 0.5)


def _share_of_heads(passing: Passing, finds: Callable[[LastRow], Tensor]) -> Tensor:
    return torch.stack([share(finds(row) & row.is_long_enough) for row in last_rows(passing)]).amax()


def last_rows(passing: Passing) -> list[LastRow]:
    """Of every call of attention in the module. Raises NotKnown."""
    candidate, key = passing.candidate, ("last rows", passing.sequence)
    if key not in candidate.known:
        calls = candidate.prepared.calls if isinstance(candidate.prepared, PassingAttention) else []
        if not calls:
            raise NotKnown(f"'{candidate.place.path}' computes no attention that can be heard of")
        sequences = candidate.generation.sequences
        candidate.known[key] = [_last_row(call, passing.sequence, sequences) for call in calls]
    rows: list[LastRow] = candidate.known[key]
    return rows


def _last_row(call: AttentionCall, sequence: int, sequences: int) -> LastRow:
    batch, _, queries, _ = call.shape
    each = batch // sequences  # several of them are beams
    row = sequence * each if each else min(sequence, batch - 1)
    weights = call.unread_weights(row, slice(queries - 1, queries))[:, 0]
    first = call.text.start(row) - call.text.first_key
    known = call.text.known_keys
    return LastRow(weights[:, :known] if known else weights, first, call, row)
