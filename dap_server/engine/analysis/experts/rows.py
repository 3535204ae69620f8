"""The Experts scope of a frame: which experts a mixture uses for each token, why, and how they share the load."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from dap_server.engine.analysis.experts.routing import Routing, route
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.routers import Router, routers
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows

NAMED = 3
"""So many of the fullest experts are named in the line of the load."""


def experts_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For frames of steps, and of modules with a router in them; found by running the step again, when it is opened."""
    tape = frame.stop.generation.tape
    if frame.activation is not None and frame.stop.generation.selection is not None:
        return None  # a logits processor has called the model, and what that does is no part of the step
    is_module = frame.kind in ("module", "past layer")
    if tape is None or not (is_module or frame.is_step):
        return None
    path = (frame.path or "") if is_module else ""
    inside = [r for r in routers(anatomy) if not path or r.path == path or r.path.startswith(f"{path}.")]
    if not inside and (around := _mixture_of(path, anatomy)) is not None:
        inside, path = [around], around.path.rpartition(".")[0]
    if not inside:
        return None
    return Scope("Experts", Rows(lambda: _rows(frame, inside, path, anatomy, vocabulary)), expensive=True)


def _mixture_of(path: str, anatomy: Anatomy) -> Router | None:
    """The router that gives tokens to the experts which a path is, or is one of."""
    for router in routers(anatomy):
        if router.experts is not None and (path == router.experts or path.startswith(f"{router.experts}.")):
            return router
    return None


def _rows(frame: Frame, wanted: list[Router], path: str, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    tape = frame.stop.generation.tape
    assert tape is not None
    found = route(tape, frame.step, wanted, path, anatomy)
    if not found:
        return [Row("none", f"no router of {anatomy.name_of(path)} ran in this step and told what it computed")]
    if len(wanted) == 1:
        return routing_rows(found[0], frame, anatomy, vocabulary)
    return [
        Row(
            routing.router.path,
            _load_line(routing),
            children=Rows(partial(routing_rows, routing, frame, anatomy, vocabulary)),
        )
        for routing in found
    ]


@torch.no_grad()
def routing_rows(routing: Routing, frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    """What one router did in a step. `imbalance` is the load of the fullest expert over the mean; entropies in nats."""
    kind = type(anatomy.modules[routing.router.path]).__name__
    sequences, tokens = routing.shape
    of_each = f" of each of {sequences} sequences" if sequences > 1 else ""
    rows = [
        Row("router", f"{routing.router.path} · {kind}"),
        Row("experts", f"{routing.experts}, {routing.per_token} for each token"),
        Row("chosen", routing.source),
        Row("scores", routing.scoring or "of a kind that the weights do not show"),
        Row("tokens", f"{tokens:,}{of_each}{_padding(routing, frame)}"),
        Row("load", _load_line(routing), children=Rows(partial(_load_rows, routing))),
        Row("imbalance", f"{routing.imbalance:.6g}", "float"),
        Row("load entropy", f"{routing.entropy:.9g} of {math.log(routing.experts):.9g}"),
    ]
    if routing.dropped:
        rows.append(Row("dropped", f"{routing.dropped:,} places that no expert was given"))
    if routing.weights is not None and (unused := int(((routing.weights == 0) & (routing.chosen >= 0)).sum())):
        rows.append(Row("weight 0", f"{unused:,} places with an expert whose output does not count"))
    positions = _PositionRows(routing, frame, vocabulary)
    return [*rows, Row("positions", f"{tokens:,}", children=positions)]


def _load_line(routing: Routing) -> str:
    """`expert 2 41.7%, expert 0 33.3% … · imbalance 1.67`."""
    total = max(int(routing.load.sum()), 1)
    counts, ids = routing.load.topk(min(NAMED, routing.experts))
    fullest = ", ".join(f"expert {int(e)} {int(n) / total:.1%}" for n, e in zip(counts, ids, strict=True) if int(n) > 0)
    more = " …" if int((routing.load > 0).sum()) > NAMED else ""
    idle = int((routing.load == 0).sum())
    unused = f" · {idle} of {routing.experts} unused" if idle else ""
    return f"{fullest}{more} · imbalance {routing.imbalance:.2f}{unused}"


def _load_rows(routing: Routing) -> list[Row]:
    total = max(int(routing.load.sum()), 1)
    rows = []
    for expert, count in enumerate(routing.load.tolist()):
        given = ""
        if routing.weights is not None:
            given = f", weights {float(routing.weights[routing.chosen == expert].sum()):.6g} in all"
        rows.append(Row(f"expert {expert}", f"{count:,} of {total:,}  {count / total:.1%}{given}"))
    return rows


def _padding(routing: Routing, frame: Frame) -> str:
    """The load is that of all tokens, since the model routes padding too: how much of it there is."""
    mask = frame.stop.generation.attention_mask
    if mask is None or frame.step > 0 or mask.shape != routing.shape:
        return ""
    count = int((mask == 0).sum())
    return f", {count:,} of them padding" if count else ""


class _PositionRows:
    """The tokens of one sequence that ran in a step, each with its experts."""

    named = 0

    def __init__(self, routing: Routing, frame: Frame, vocabulary: Vocabulary) -> None:
        self._routing, self._sequence = routing, min(frame.sequence, routing.shape[0] - 1)
        self.indexed = routing.shape[1]
        self._first, self._text = _texts(routing, frame, vocabulary)

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        return [self._row(i) for i in range(start, min(start + count, self.indexed))]

    def _row(self, position: int) -> Row:
        routing, n = self._routing, self._routing.row(self._sequence, position)
        at = self._first + position
        parts = []
        for place, expert in enumerate(routing.chosen[n].tolist()):
            if expert >= 0:
                share = None if routing.scores is None else float(routing.scores[n, expert])
                parts.append((-math.inf if share is None else share, _pick(expert, share, routing.weights, n, place)))
        shown = ", ".join(text for _, text in sorted(parts, key=lambda part: -part[0])) or "no expert"
        return Row(f"[{at}]", f"{self._text(at)}  {shown}", children=Rows(lambda: self._all(n)))

    def _all(self, n: int) -> list[Row]:
        """Every expert for one token."""
        routing = self._routing
        chosen = {expert: place for place, expert in enumerate(routing.chosen[n].tolist()) if expert >= 0}
        rows = []
        for expert in range(routing.experts):
            text = f"logit {float(routing.logits[n, expert]):.6g}"
            if routing.scores is not None:
                text += f", {routing.scoring} {float(routing.scores[n, expert]):.6g}"
            if expert in chosen:
                text += ", chosen"
                if routing.weights is not None:
                    text += f" with weight {float(routing.weights[n, chosen[expert]]):.6g}"
            rows.append(Row(f"expert {expert}", text))
        return rows


def _pick(expert: int, share: float | None, weights: Tensor | None, n: int, place: int) -> str:
    score = "" if share is None else f" {share:.1%}"
    return f"expert {expert}{score}" + ("" if weights is None else f" (weight {float(weights[n, place]):.3g})")


def _texts(routing: Routing, frame: Frame, vocabulary: Vocabulary) -> tuple[int, Callable[[int], str]]:
    """The position of the first token that ran, and the text at a position."""
    generation = frame.stop.generation
    ids = generation.input_ids
    if ids is None or routing.shape[0] != ids.shape[0]:
        return 0, lambda position: f"position {position}"
    row: list[int] = ids[frame.sequence].tolist()
    first = generation.prompt_length + frame.step - routing.shape[1]
    if first < 0 or first + routing.shape[1] > len(row):
        return 0, lambda position: f"position {position}"
    return first, lambda position: vocabulary.quoted(row[position])
