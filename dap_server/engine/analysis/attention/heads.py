"""What an attention head does, as numbers and in a word.

The scores are those of the literature on circuits: the weight on the keys that define a kind, averaged over the query
rows that have such a key. `induction` is the prefix-matching score of Olsson et al., "In-context Learning and
Induction Heads" (2022): the weight on the tokens that followed earlier occurrences of the query's token; `duplicate`
the weight on those occurrences (Wang et al., "Interpretability in the Wild", 2022); `previous token` that on the token
before; `sink` that on the first token (Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023),
together with what a learnt sink takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dap_server.engine.analysis.attention.weights import Rows
from dap_server.engine.execution.attention.text import UNKNOWN, AttentionText

NAMED_FROM = 0.4
"""A head has the kind of its highest score, if that is at least this."""

MIXED = "mixed"


@dataclass(frozen=True)
class HeadSummary:
    """One head over the query rows at hand; rows whose every key is masked do not count.

    Attributes:
        entropy: mean over rows, in nats, of the shares of the keys and of a learnt sink.
        first: mean share of the first token of the text, padding not counted; 0 where a window hides it.
        distance: mean of how many positions back it looks; None for cross attention.
        sink: mean share of a learnt sink; None without one.
        scores: by kind, as far as they are defined here: `previous token`, `duplicate`, `induction`, `sink`.
    """

    entropy: float
    first: float
    distance: float | None
    sink: float | None = None
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind with the highest score; `mixed` when none is high."""
        kind, score = max(self.scores.items(), key=lambda item: item[1], default=(MIXED, 0.0))
        return kind if score >= NAMED_FROM else MIXED


class Tally:
    """Adds up the rows of one sequence, some at a time."""

    def __init__(self, text: AttentionText, sequence: int, keys: int, device: torch.device) -> None:
        self._text = text
        self._start = text.start(sequence)
        self._ids = None if text.is_cross else text.ids_of_keys(sequence, keys)
        self._own_ids = None if text.query_ids is None else text.query_ids[sequence]
        self._positions = torch.arange(keys, device=device) + text.first_key  # (S,)
        self._positions[text.known_keys or keys :] = -1  # before every start
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, rows: Rows, first_row: int) -> None:
        """`first_row`: index of the first of the rows among all query rows of the call."""
        weights, cross = rows.weights.float(), self._text.is_cross  # (H, T', S)
        masked = weights[..., 0].isnan()  # (H, T'), which means the whole row
        if bool(masked.any()):
            weights = weights.nan_to_num()
        shown = ~masked
        at = torch.arange(weights.shape[1], device=weights.device) + first_row + self._text.first_query  # (T',)
        sink = torch.zeros_like(weights[..., 0]) if rows.sink is None else rows.sink.float().nan_to_num()
        entropy = torch.special.entr(weights).sum(dim=-1) + torch.special.entr(sink)
        self._mean("entropy", entropy, shown)
        if rows.sink is not None:
            self._mean("learnt sink", sink, shown)
        first = self._at(weights, torch.full_like(at, self._start))  # (H, T')
        self._mean("first", first, shown if cross else shown & (at > self._start))
        if cross:
            return
        self._mean("sink", first + sink, shown & (at > self._start))
        self._mean("previous token", self._at(weights, at - 1), shown & (at > self._start))
        back = (at[:, None] - self._positions[None]).clamp_min(0)  # (T', S)
        back = back.masked_fill(self._positions[None] < self._start, 0)
        self._mean("distance", _on(weights, back.float()), shown)
        for kind, keys in self._by_token(at, back > 0).items():
            if bool((found := keys.any(dim=1)).any()):
                self._mean(kind, _on(weights, keys.float()), shown & found)
            else:
                self._mean(kind, torch.zeros_like(first), shown & found)

    def _at(self, weights: Tensor, positions: Tensor) -> Tensor:
        """(H, T') of each row, on the key at one position of its own (T',); 0 where that is not among the keys."""
        key = positions - self._text.first_key
        known = (key >= 0) & (key < (self._text.known_keys or weights.shape[-1]))
        index = key.clamp(0, weights.shape[-1] - 1)[None, :, None].expand(weights.shape[0], -1, 1)
        return weights.gather(-1, index)[..., 0] * known

    def _by_token(self, at: Tensor, before: Tensor) -> dict[str, Tensor]:
        """(T', S) the keys that define a kind, of those `before` the query; nothing where the text is not known."""
        if self._ids is None or self._own_ids is None:
            return {}
        own = self._own_ids[at]  # (T',)
        same = (self._ids[None] == own[:, None]) & before & (own[:, None] != UNKNOWN)
        after = torch.zeros_like(same)
        after[:, 1:] = same[:, :-1]
        return {"duplicate": same, "induction": after & before}

    def _mean(self, name: str, values: Tensor, counted: Tensor) -> None:
        """`values`, `counted`: (H, T')."""
        self._sums[name] = self._sums.get(name, 0) + (values * counted).double().sum(-1)
        self._counts[name] = self._counts.get(name, 0) + counted.sum(-1)

    def summaries(self) -> list[HeadSummary]:
        """Of every head."""
        means = {name: (total / self._counts[name].clamp_min(1)).tolist() for name, total in self._sums.items()}
        kinds = [kind for kind in ("previous token", "duplicate", "induction", "sink") if kind in means]
        return [
            HeadSummary(
                entropy=means["entropy"][h],
                first=means["first"][h],
                distance=means["distance"][h] if "distance" in means else None,
                sink=means["learnt sink"][h] if "learnt sink" in means else None,
                scores={kind: means[kind][h] for kind in kinds},
            )
            for h in range(len(means["entropy"]))
        ]


def _on(weights: Tensor, factors: Tensor) -> Tensor:
    """(H, T') the sums over keys of weights (H, T', S) times factors (T', S)."""
    return torch.bmm(weights.transpose(0, 1), factors[..., None])[..., 0].transpose(0, 1)
