"""Direct attribution of a logit: what each part of the model added to it through the residual stream.

The residual stream after the last layer is a sum: what went into the first layer, and what each layer made of it. With
the statistics of the final normalisation held at what they were, a logit before capping reads that sum linearly, so it
is a sum too. Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021), call the terms direct effects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dap_server.engine.analysis.attribution.affine import Affine, makes, matrix_of, recognised, scaled
from dap_server.engine.analysis.attribution.parts import Part, layer_parts, stream_of
from dap_server.engine.analysis.attribution.recording import Call, Recording, multiple_of, record, tolerance
from dap_server.engine.analysis.lens.residuals import CannotRead
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.generation import Tape
from dap_server.protocol.errors import RequestError

CHECKED = 8
"""So many logits are computed by hand to know a head from its look-alikes."""


WIDEST = 4
"""What lies on the way to the head is at most so many times as wide as its input; a head may be much wider."""


class CannotAttribute(RequestError):
    """A logit of this model is no sum over its layers; the text says why."""

    id = 51


@dataclass(frozen=True)
class Attribution:
    """A logit and its parts.

    Attributes:
        token: index of the logit.
        logit: before capping, as the model computed it.
        given: as the model gave it: capped, if it caps.
        parts: embedding, layers in their order, biases behind them.
    """

    token: int
    logit: float
    given: float
    parts: tuple[Part, ...]

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return sum(part.value for part in self.parts)

    @property
    def remainder(self) -> float:
        """What the parts do not explain: the rounding of the model's own arithmetic."""
        return self.logit - self.total

    @property
    def is_capped(self) -> bool:
        return abs(self.given - self.logit) > 1e-6 * max(1.0, abs(self.logit))

    def terms(self) -> list[Part]:
        """The smallest parts, the one with the largest effect first: heads, then modules, then layers."""
        found = [term for part in self.parts for term in part.leaves()]
        return sorted(found, key=lambda term: -abs(term.value))


@torch.no_grad()
def attribution(
    tape: Tape,
    step: int,
    anatomy: Anatomy,
    sequence: int,
    token: int | None = None,
    heads: bool = True,
    position: int = -1,
) -> Attribution:
    """Of the logit of a token at a position of a step, in float64; the most likely token when None.

    Runs the step again once, and twice more for a position of a prefill that is not the last. Parts and remainder sum
    to the logit; in float32 the remainder is below 1e-4 of a logit of ordinary size.

    Args:
        heads: whether attention is split into its heads.
        position: in the forward of the step, from its end when negative.

    Raises:
        CannotAttribute: no layers ran, or no logits came of them (a base model); a residual stream that changes its
            width or is several streams (hyper-connections); or something that is neither a factor, a normalisation
            nor a matrix between the last layer and the logits (the GELU in the head of BERT).
    """
    try:
        recording = record(tape, step, anatomy, sequence, position)
    except CannotRead as error:
        raise CannotAttribute(str(error)) from error
    return of_recording(recording, anatomy, token, heads)


@torch.no_grad()
def of_recording(recording: Recording, anatomy: Anatomy, token: int | None = None, heads: bool = True) -> Attribution:
    """The same, of a step that has been followed already. Raises CannotAttribute."""
    layers = recording.layers
    if not layers:
        raise CannotAttribute("no layers ran in this step: there is no residual stream to attribute to")
    if recording.logits is None:
        raise CannotAttribute("the model gave no logits for this position")
    token = int(recording.logits.argmax()) if token is None else token
    streams = [stream_of(recording.calls[i]) for i in layers]
    if len({None if pair is None else (pair[0].shape, pair[1].shape) for pair in streams}) > 1 or streams[0] is None:
        raise CannotAttribute("the residual stream changes its shape from layer to layer")
    path = _path(recording, anatomy, token)
    parts = [*_stream_parts(recording, path, heads), *path.biases]
    return Attribution(token, path.logit, float(recording.logits[token]), tuple(parts))


@dataclass(frozen=True)
class _Path:
    """How a logit reads the residual stream.

    Attributes:
        reader: (D,) in float64; what it reads in the stream after the last layer is the logit without `biases`.
        logit: before capping.
    """

    reader: Tensor
    biases: list[Part]
    logit: float


class _Head(NamedTuple):
    """The matrix that makes logits of `factor` times a row: a module's, or a parameter that no module is called for."""

    path: str
    factor: float
    weight: Tensor
    bias: Tensor | None


class _Finish(NamedTuple):
    """What is done to the logits behind the head: a factor, or a bias of the model's own; or they are capped."""

    logit: float
    factor: float = 1.0
    bias: Part | None = None


def _path(recording: Recording, anatomy: Anatomy, token: int) -> _Path:
    """From the logit back to the residual stream. Raises CannotAttribute."""
    last, logits = recording.calls[recording.layers[-1]], recording.logits
    assert last.output is not None
    assert logits is not None
    behind = recording.calls[last.end :]
    maps, x, found = _followed(behind, last.output, logits, anatomy, token)
    found = found or _parameter(x, logits, anatomy, token)
    if found is None:
        raise CannotAttribute(_what_stands_between(behind, maps, x, anatomy))
    head, finish = found
    biases = [] if finish.bias is None else [finish.bias]
    reader = finish.factor * head.weight[token].double()
    if head.bias is not None and float(head.bias[token]):
        biases.append(Part(f"{head.path}.bias", "bias", finish.factor * float(head.bias[token])))
    for affine in reversed([*maps, scaled("", head.factor)]):
        if affine.bias is not None:
            biases.append(Part(f"{affine.path}.bias", "bias", affine.constant(reader)))
        reader = affine.pull(reader)
    if reader.shape != last.output.shape:
        raise CannotAttribute("the residual stream is not what the head reads")
    return _Path(reader, biases[::-1], finish.logit)


def _followed(
    behind: list[Call], stream: Tensor, logits: Tensor, anatomy: Anatomy, token: int
) -> tuple[list[Affine], Tensor, tuple[_Head, _Finish] | None]:
    """The maps that the stream (D,) goes through on its way to the head, what comes out of them, and the head."""
    maps: list[Affine] = []
    x, skip = stream, 0
    for i, call in enumerate(behind):
        factor = multiple_of(call.inputs[0], x) if i >= skip and call.inputs and call.output is not None else None
        if factor is None or call.output is None:
            continue
        if (head := _head(call, factor, logits, anatomy, token)) is not None:
            return maps, x, head
        found = recognised(call) if call.output.shape[0] <= WIDEST * x.shape[0] else None
        if found is not None:
            maps += [scaled("", factor), found]
            x = call.output
            skip = i + 1 + sum(other.path.startswith(f"{call.path}.") for other in behind[i + 1 :])
    return maps, x, None


def _head(call: Call, factor: float, logits: Tensor, anatomy: Anatomy, token: int) -> tuple[_Head, _Finish] | None:
    """A call that makes the logits (V,) of `factor` times a row."""
    y = call.output
    if y is None or y.shape[0] < logits.shape[0]:
        return None
    matrix = matrix_of(call.module, call.inputs[0], y, _rows(logits, token))
    finish = None if matrix is None else _finish(y[: logits.shape[0]], logits, anatomy, token)
    return None if matrix is None or finish is None else (_Head(call.path, factor, *matrix), finish)


def _parameter(x: Tensor, logits: Tensor, anatomy: Anatomy, token: int) -> tuple[_Head, _Finish] | None:
    """A matrix that makes the logits (V,) of x (W,), and that no module is called for."""
    rows = _rows(logits, token)
    for name, weight in anatomy.model.named_parameters():
        if weight.dim() == 2 and weight.shape == (logits.shape[0], x.shape[0]) and makes(weight, None, x, logits, rows):
            return _Head(name, 1.0, weight.detach(), None), _Finish(float(logits[token]))
    return None


def _rows(logits: Tensor, token: int) -> Tensor:
    """The logits by which a head is known: that of the token, and the highest ones."""
    best = logits.nan_to_num(neginf=torch.finfo(logits.dtype).min).topk(min(CHECKED, logits.shape[0])).indices
    return torch.cat([best.new_tensor([token]), best])


def _finish(made: Tensor, logits: Tensor, anatomy: Anatomy, token: int) -> _Finish | None:
    """How logits (V,) come of what the head made (V,); None when it is not known."""
    both = logits.isfinite() & made.isfinite()
    if torch.equal(made[both], logits[both].to(made.dtype)):
        return _Finish(float(made[token]))
    if (factor := multiple_of(logits[both], made[both].to(logits.dtype))) is not None:
        return _Finish(float(logits[token] if both[token] else factor * made[token]), factor)
    added = logits.double() - made.double()
    for name, bias in [*anatomy.model.named_parameters(), *anatomy.model.named_buffers()]:
        if bias.numel() == logits.shape[0] and multiple_of(added[both], bias.detach().flatten()[both].double()) == 1.0:
            own = Part(name, "bias", float(bias.detach().flatten()[token]))
            return _Finish(float(logits[token]), bias=own)
    in_order = logits[both].double()[made[both].double().argsort()]
    if bool((in_order.diff() >= -tolerance(logits) * in_order.abs().max()).all()):
        return _Finish(float(made[token]))  # capped: another curve, the same order
    return None


def _what_stands_between(behind: list[Call], maps: list[Affine], x: Tensor, anatomy: Anatomy) -> str:
    """Why there is no way from the last layer to the logits."""
    onward = [call for call in behind if call.path and any(multiple_of(row, x) is not None for row in call.inputs)]
    if onward:
        name = f"{anatomy.name_of(onward[-1].path)} ({type(onward[-1].module).__name__})"
        return f"between the last layer and the logits stands {name}, which is not linear"
    last = next((f"behind {affine.path}" for affine in reversed(maps) if affine.path), "behind the last layer")
    return f"{last} the model does something on the way to the logits that no module does, and that is not known"


def _stream_parts(recording: Recording, path: _Path, heads: bool) -> Iterator[Part]:
    """The terms of the stream: what went into the first layer, each layer, and what happened between two of them."""
    reader, calls = path.reader, recording.calls
    before: Tensor | None = None
    seen: dict[str, int] = {}
    for index in recording.layers:
        call, pair = calls[index], stream_of(calls[index])
        assert pair is not None
        given, made = pair
        name = call.path
        if before is None:
            yield Part("embedding", "embedding", _read(reader, given))
        elif not torch.equal(before, given):
            yield Part(f"before {name}", "between", _read(reader, given.double() - before.double()))
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name} (call {seen[name]})"
        value = _read(reader, made.double() - given.double())
        children, note = layer_parts(recording, index, reader, heads)
        yield Part(name, "layer", value, tuple(children), note)
        before = made


def _read(reader: Tensor, row: Tensor) -> float:
    return float(reader @ row.double())
