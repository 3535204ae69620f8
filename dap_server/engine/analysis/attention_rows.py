"""The Attention scope of a frame: heads, what they are, and where each position looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from dap_server.engine.analysis.attention import AttentionCall, attention_calls
from dap_server.engine.analysis.heads import HeadSummary, summarize
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows

SHOWN = 3
"""So many of the keys that a position looks at most are named in its line."""


def attention_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For frames inside a transformer layer; found by running the step again, when it is opened."""
    if frame.path is None or frame.kind == "forward" or anatomy.layer_of(frame.path) is None:
        return None
    if frame.stop.generation.tape is None or not frame.stop.generation.is_own_loop:
        return None
    return Scope("Attention", Rows(lambda: _rows(frame, anatomy, vocabulary)), expensive=True)


def _rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    tape, path = frame.stop.generation.tape, frame.path or ""
    assert tape is not None
    calls = attention_calls(tape, frame.step, path, anatomy.modules)
    if not calls:
        return [Row("none", f"{anatomy.name_of(path)} dispatches no attention through transformers")]
    if len(calls) == 1:
        return _heads(next(iter(calls.values())), frame, vocabulary)
    return [Row(p, "", children=Rows(partial(_heads, call, frame, vocabulary))) for p, call in calls.items()]


def _heads(call: AttentionCall, frame: Frame, vocabulary: Vocabulary) -> list[Row]:
    weights = call.weights(frame.sequence)  # (H, T, S)
    ids = frame.stop.generation.input_ids
    tokens = [] if ids is None else ids[frame.sequence, : weights.shape[2]].tolist()
    offset = weights.shape[2] - weights.shape[1]
    if len(tokens) != weights.shape[2] or offset < 0:  # cross attention, or keys that are no tokens of the text
        return [
            Row(f"head {h}", "", children=_Positions(weights[h], 0, [], vocabulary)) for h in range(weights.shape[0])
        ]
    return [
        Row(f"head {h}", _line(summary), children=_Positions(weights[h], offset, tokens, vocabulary))
        for h, summary in enumerate(summarize(weights, tokens, offset))
    ]


def _line(head: HeadSummary) -> str:
    return f"{head.kind} · entropy {head.entropy:.3f} · first key {head.first:.1%} · {head.distance:.1f} back"


class _Positions:
    """The query positions of one head, each opening to its keys."""

    named = 0

    def __init__(self, weights: Tensor, offset: int, tokens: list[int], vocabulary: Vocabulary) -> None:
        """`weights`: (T, S)."""
        self._weights, self._offset, self._tokens, self._vocabulary = weights, offset, tokens, vocabulary
        self.indexed = weights.shape[0]

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        rows = range(start, min(start + count, self.indexed))
        return [self._row(i) for i in rows]

    def _row(self, query: int) -> Row:
        weights = self._weights[query]  # (S,)
        at = query + self._offset
        if math.isnan(float(weights[0])):
            return Row(f"[{at}]", f"{self._text(at)}  masked")
        best, keys = weights.topk(min(SHOWN, weights.shape[0]))
        looks = ", ".join(
            f"{self._text(int(k))} {float(w):.1%}" for w, k in zip(best, keys, strict=True) if float(w) >= 0.005
        )
        return Row(f"[{at}]", f"{self._text(at)}  looks at {looks}", children=_Keys(weights, self._text))

    def _text(self, position: int) -> str:
        return self._vocabulary.quoted(self._tokens[position]) if self._tokens else f"position {position}"


class _Keys:
    """The weights of one row by key."""

    named = 0

    def __init__(self, weights: Tensor, text: Callable[[int], str]) -> None:
        self._weights, self._text = weights, text
        self.indexed = weights.shape[0]

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        page = self._weights[start : start + count].tolist()
        return [Row(f"[{start + i}]", f"{self._text(start + i)}  {w:.6g}") for i, w in enumerate(page)]
