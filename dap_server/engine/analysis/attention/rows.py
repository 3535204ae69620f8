"""The Attention scope of a frame: every head with what it does, every position with where it looks."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor

from dap_server.engine.analysis.attention.capture import Replays, attention_calls
from dap_server.engine.analysis.attention.heads import HeadSummary, Tally
from dap_server.engine.analysis.attention.weights import AttentionCall, EditedCall
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.attention.text import UNKNOWN, Known
from dap_server.engine.execution.stage import reporting
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows

TITLE = "Working out attention"
"""Of what takes long."""

SHOWN = 3
"""So many of the keys that a position looks at most are named in its line."""


def attention_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For frames inside a transformer layer; found by running the step again, when it is opened."""
    if frame.path is None or frame.kind == "forward" or anatomy.layer_of(frame.path) is None:
        return None
    if _tape(frame, frame.path) is None:
        return None
    return Scope("Attention", Rows(lambda: _rows(frame, anatomy, vocabulary)), expensive=True)


def calls_in(frame: Frame, path: str, anatomy: Anatomy) -> list[AttentionCall]:
    """The calls of attention in a module, in the step of a frame."""
    encoder, tape = frame.stop.generation.encoder, _tape(frame, path)
    if tape is None:
        return []
    known = _known(frame) if tape is not encoder else None
    is_present = frame.step == frame.stop.place.step
    running = frame.stop.activations if is_present else []
    suspended = next((call for call in running if anatomy.path_of(call.module) == path), None)
    return attention_calls(tape, frame.step, path, anatomy, suspended, known)


def _known(frame: Frame) -> Known:
    """What a step has for its text."""
    generation, mask = frame.stop.generation, frame.stop.generation.attention_mask
    encoder = generation.encoder
    texts = []
    if generation.is_own_loop and generation.input_ids is not None:
        texts.append(generation.input_ids[:, : generation.prompt_length + frame.step])
    others = [encoder.ids] if encoder is not None and encoder.ids is not None else []
    starts = mask.bool().int().argmax(dim=1) if mask is not None and encoder is None else None
    return Known(texts, others, starts)


def _tape(frame: Frame, path: str) -> Replays | None:
    """What runs a module again."""
    generation = frame.stop.generation
    encoder = generation.encoder
    return encoder if encoder is not None and encoder.holds(path) else generation.tape


def row_of(call: AttentionCall, frame: Frame) -> int:
    """The row of a call's batch that belongs to the sequence of a frame; of several beams the first."""
    each = call.shape[0] // frame.stop.generation.sequences
    return frame.sequence * each if each else min(frame.sequence, call.shape[0] - 1)


def _rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    path = frame.path or ""
    calls = calls_in(frame, path, anatomy)
    if not calls:
        return [Row("none", f"{anatomy.name_of(path)} computes no attention that can be heard of")]
    if len(calls) == 1:
        return _heads(calls[0], row_of(calls[0], frame), vocabulary)
    rows = []
    for name, call in zip(call_names(calls), calls, strict=True):
        sequence = row_of(call, frame)
        rows.append(Row(name, headline(call, sequence), children=Rows(partial(_heads, call, sequence, vocabulary))))
    return rows


def call_names(calls: list[AttentionCall]) -> list[str]:
    """By the path of the module, counted where one module calls attention more than once."""
    names: list[str] = []
    for call in calls:
        before = sum(name.partition(" (")[0] == call.path for name in names)
        names.append(f"{call.path} (call {before + 1})" if before else call.path)
    return names


def headline(call: AttentionCall, sequence: int) -> str:
    """`self attention · sdpa · 6 heads · 1 × 19 · window 8`."""
    _, heads, queries, keys = call.shape
    window = f" · window {call.window}" if call.window is not None else ""
    source = "" if call.source == "AttentionInterface" else f" · from {call.source}"
    source = " · edited" if isinstance(call, EditedCall) else source
    return f"{call.kind(sequence)} attention · {call.kernel} · {heads} heads · {queries} × {keys}{window}{source}"


def _heads(call: AttentionCall, sequence: int, vocabulary: Vocabulary) -> list[Row]:
    labels = Labels(call, sequence, vocabulary)
    return [
        Row("call", headline(call, sequence)),
        *(
            Row(f"head {h}", _line(summary), children=_Positions(call, sequence, h, labels))
            for h, summary in enumerate(summarize(call, sequence))
        ),
    ]


def summarize(call: AttentionCall, sequence: int) -> list[HeadSummary]:
    """Every head over all query rows."""
    tally, size, report = Tally(call.text, sequence, call.shape[3], call.device), call.rows_at_once(), reporting(TITLE)
    for start in range(0, call.shape[2], size):
        report(start, call.shape[2])
        tally.add(call.rows(sequence, slice(start, start + size)), start)
    return tally.summaries()


def _line(head: HeadSummary) -> str:
    distance = "" if head.distance is None else f" · {head.distance:.1f} back"
    sink = "" if head.sink is None else f" · learnt sink {head.sink:.1%}"
    kind = f"{head.kind} · " if head.scores else ""
    return f"{kind}entropy {head.entropy:.3f} · first token {head.first:.1%}{distance}{sink}"


class _Positions:
    """The query positions of one head, each opening to its keys. Rows are computed page by page."""

    named = 0

    def __init__(self, call: AttentionCall, sequence: int, head: int, labels: Labels) -> None:
        self._call, self._sequence, self._head, self._labels = call, sequence, head, labels
        self.indexed = call.shape[2]

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        stop = min(start + count, self.indexed)
        made: list[Row] = []
        while start < stop:
            end = min(start + self._call.rows_at_once(), stop)
            weights, sink = self._call.rows(self._sequence, slice(start, end))
            for i in range(end - start):
                took = None if sink is None else float(sink[self._head, i])
                made.append(self._row(start + i, weights[self._head, i], took))
            start = end
        return made

    def _row(self, query: int, weights: Tensor, sink: float | None) -> Row:
        """`weights`: (S,)."""
        name, own = f"[{self._call.text.first_query + query}]", self._labels.query(query)
        if math.isnan(float(weights[0])):
            return Row(name, f"{own}  masked")
        best, keys = weights.topk(min(SHOWN, weights.shape[0]))
        looks = [
            f"{self._labels.key(int(k))} {float(w):.1%}" for w, k in zip(best, keys, strict=True) if float(w) >= 0.005
        ]
        if sink is not None:
            looks.append(f"learnt sink {sink:.1%}")
        return Row(name, f"{own}  looks at {', '.join(looks)}", children=_Keys(weights.clone(), sink, self._labels))


class _Keys:
    """The weights of one row by key, those that are no position of the text left out unless they have weight."""

    def __init__(self, weights: Tensor, sink: float | None, labels: Labels) -> None:
        self._weights, self._sink, self._labels = weights, sink, labels
        self.indexed = labels.known or weights.shape[0]
        self.named = int(sink is not None)

    def named_rows(self) -> list[Row]:
        return [] if self._sink is None else [Row("learnt sink", f"{self._sink:.6g}")]

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        page = self._weights[start : min(start + count, self.indexed)].tolist()
        return [
            Row(f"[{self._labels.position(start + i)}]", f"{self._labels.key(start + i)}  {w:.6g}")
            for i, w in enumerate(page)
        ]


class Labels:
    """The texts beside queries and keys of one call, for one sequence."""

    def __init__(self, call: AttentionCall, sequence: int, vocabulary: Vocabulary) -> None:
        self._text, self._sequence, self._vocabulary = call.text, sequence, vocabulary
        ids = call.text.ids_of_keys(sequence, call.shape[3])
        self._ids = None if ids is None else ids.tolist()
        self.known = call.text.known_keys

    def query(self, row: int) -> str:
        token = self._text.id_of_query(self._sequence, row)
        return f"position {self._text.first_query + row}" if token == UNKNOWN else self._vocabulary.quoted(token)

    def key(self, key: int) -> str:
        position = self._text.key_position(key)
        if position is None:
            return "empty slot" if self.known else f"key {key}"
        if self._ids is None or self._ids[key] == UNKNOWN:
            return f"position {position}"
        return self._vocabulary.quoted(self._ids[key])

    def position(self, key: int) -> int:
        """Of a key in its text; its index where it is no token."""
        position = self._text.key_position(key)
        return key if position is None else position
