"""What a layer added to the residual stream, by the modules inside that added it, and by the heads of attention.

Found from the rows that modules were given and returned, without knowing the architecture: either what the layer added
is a sum of what some of its modules returned (each with a factor, as residual multipliers are), or its modules hand the
stream on from one to the next. A layer that does neither stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dap_server.engine.analysis.attribution.affine import matrix_of, recognised
from dap_server.engine.analysis.attribution.recording import Call, Recording, multiple_of, tolerance

Kind = Literal["embedding", "between", "layer", "attention", "module", "head", "bias"]

WHOLE = "what its modules return does not sum to what it adds: it stays whole"


@dataclass(frozen=True)
class Part:
    """One term of a logit.

    Attributes:
        name: path of the module, `head 3` within its attention, `embedding`.
        children: terms that it is made of; they and `rest` sum to it.
        note: why it has none.
    """

    name: str
    kind: Kind
    value: float
    children: tuple[Part, ...] = ()
    note: str = ""

    @property
    def rest(self) -> float:
        """What the children do not explain; 0 without any."""
        return self.value - sum(child.value for child in self.children) if self.children else 0.0

    def leaves(self) -> Iterator[Part]:
        """The terms of it that have no terms themselves; heads with the path of their attention."""
        if not self.children:
            yield self
        for child in self.children:
            named = replace(child, name=f"{self.name} {child.name}") if child.kind == "head" else child
            yield from named.leaves()


@dataclass(frozen=True)
class _Update:
    """What one module inside a layer adds to the stream.

    Attributes:
        call: its index.
        delta: (D,) in float64.
        factor: of its output in `delta`; None when `delta` is what it made of the stream that it was given.
    """

    call: int
    delta: Tensor
    factor: float | None


def stream_of(call: Call) -> tuple[Tensor, Tensor] | None:
    """What a layer was given of the residual stream and what it returned, each (D,)."""
    if call.output is None or not call.inputs:
        return None
    given = next((row for row in call.inputs if row.shape == call.output.shape), call.inputs[0])
    return given, call.output


def layer_parts(recording: Recording, index: int, reader: Tensor, heads: bool) -> tuple[list[Part], str]:
    """The terms of a layer, and why there are none. `reader` (D,): what reads the logit in the stream; float64."""
    updates = _updates(recording, index)
    if updates is None:
        return [], WHOLE
    parts = [_part(recording, update, reader, heads) for update in updates]
    scaled = _scaled_stream(recording, index, updates)
    if scaled is not None:
        parts.append(Part("stream, scaled", "module", float(reader @ scaled)))
    return parts, ""


def _updates(recording: Recording, index: int) -> list[_Update] | None:
    """What the modules of a call add to the stream; None when they do not explain it."""
    pair = stream_of(recording.calls[index])
    inside = recording.children(index)
    if pair is None or not inside:
        return None
    found = _summed(recording, inside, *pair) or _handed_on(recording, inside, *pair)
    if found is not None and len(found) == 1 and found[0].factor is None:
        return _updates(recording, found[0].call) or found  # a wrapper: what is inside it says more
    return found


def _summed(recording: Recording, inside: list[int], given: Tensor, made: Tensor) -> list[_Update] | None:
    """The outputs that the layer adds to its stream: those that no other module goes on with."""
    calls = recording.calls
    ends = [i for i in inside if _is_end(calls, inside, i, made)]
    if not ends:
        return None
    outputs = torch.stack([given, *(_output(calls[i]) for i in ends)]).double()  # (N, D)
    change = made.double() - given.double()
    factors = (
        torch.linalg.lstsq(outputs.T.cpu(), change[:, None].cpu(), driver="gelsd").solution[:, 0].to(change.device)
    )
    factors = torch.where((factors - 1).abs() < 100 * tolerance(made), 1.0, factors)
    factors[0] = factors[0] if abs(float(factors[0])) > 100 * tolerance(made) else 0.0
    error = float((factors @ outputs - change).norm())
    if error > 10 * tolerance(made) * float(made.double().norm()) or error > 0.05 * float(change.norm()):
        return None
    updates = [_Update(i, f * o, float(f)) for i, f, o in zip(ends, factors[1:], outputs[1:], strict=True)]
    return [u for u in updates if float(u.delta.norm()) > tolerance(made) * float(change.norm())]


def _is_end(calls: list[Call], inside: list[int], index: int, made: Tensor) -> bool:
    output = calls[index].output
    if output is None or output.shape != made.shape or torch.equal(output, made):
        return False
    later = (calls[i] for i in inside if i > index)
    return not any(row.shape == output.shape and torch.equal(row, output) for call in later for row in call.inputs)


def _handed_on(recording: Recording, inside: list[int], given: Tensor, made: Tensor) -> list[_Update] | None:
    """The shortest way of the stream through modules that return it whole: each was given what the one before made."""
    calls = recording.calls
    ways: list[tuple[Tensor, list[_Update]]] = [(made, [])]
    for _ in inside:
        longer: list[tuple[Tensor, list[_Update]]] = []
        for at, way in ways:
            before = way[0].call if way else len(calls)
            for i in inside:
                output = calls[i].output
                if i >= before or output is None or output.shape != at.shape or not torch.equal(output, at):
                    continue
                for row in calls[i].inputs:
                    if row.shape != at.shape:
                        continue
                    step = [_Update(i, at.double() - row.double(), None), *way]
                    if torch.equal(row, given):
                        return step
                    if (first := _summed(recording, [j for j in inside if j < i], given, row)) is not None:
                        return [*first, *step]
                    longer.append((row, step))
        ways = longer[:64]
    return None


def _scaled_stream(recording: Recording, index: int, updates: list[_Update]) -> Tensor | None:
    """(D,) what a layer adds by scaling the stream itself; None when it does not."""
    pair = stream_of(recording.calls[index])
    assert pair is not None
    left = pair[1].double() - pair[0].double() - sum(update.delta for update in updates)
    return left if multiple_of(left.to(pair[0].dtype), pair[0]) is not None else None


def _part(recording: Recording, update: _Update, reader: Tensor, heads: bool) -> Part:
    """The term of one update: named after the module behind normalisations and dropout, opened to its heads."""
    calls, value = recording.calls, float(reader @ update.delta)
    index, read, constant = update.call, reader, 0.0
    siblings = recording.children(calls[index].parent)
    delta = update.delta
    if update.factor is not None:
        read = update.factor * reader
        while recording.heads(index) is None and (source := _source(calls, siblings, index)) is not None:
            affine = recognised(calls[index])
            if affine is None or affine.is_linear:
                break
            constant += affine.constant(read)
            read, index = affine.pull(read), source
        delta = _output(calls[index]).double()
    name = calls[index].path
    if recording.heads(index) is None:
        return Part(name, "module", value)
    children = _heads(recording, index, delta, read) if heads else []
    if children and constant:
        children.append(Part(f"{calls[update.call].path}.bias", "bias", constant))
    note = "" if children or not heads else "its heads do not stand in columns of one output projection"
    return Part(name, "attention", value, tuple(children), note)


def _source(calls: list[Call], siblings: list[int], index: int) -> int | None:
    """The module whose output a module was given."""
    given = calls[index].inputs[:1]
    for i in reversed([i for i in siblings if i < index]):
        output = calls[i].output
        if output is not None and given and output.shape == given[0].shape and torch.equal(output, given[0]):
            return i
    return None


def _heads(recording: Recording, index: int, delta: Tensor, reader: Tensor) -> list[Part]:
    """The terms of an attention by head: what each one's columns of the output projection make of its values.

    `delta` (D,): what the attention adds where `reader` (D,) reads it.
    """
    heads = recording.heads(index)
    assert heads is not None
    for i in reversed((index, *recording.inside(index))):
        call = recording.calls[i]
        if not call.inputs or call.output is None or call.inputs[0].shape[0] % heads:
            continue
        factor = multiple_of(delta.to(call.output.dtype), call.output)
        found = None if factor is None else matrix_of(call.module, call.inputs[0], call.output)
        if factor is None or found is None:
            continue
        read = factor * (reader @ found[0].double())  # (W,)
        terms = (read * call.inputs[0].double()).reshape(heads, -1).sum(-1)
        parts = [Part(f"head {h}", "head", value) for h, value in enumerate(terms.tolist())]
        if found[1] is not None:
            parts.append(Part(f"{call.path}.bias", "bias", factor * float(reader @ found[1].double())))
        return parts
    return []


def _output(call: Call) -> Tensor:
    assert call.output is not None
    return call.output
