"""Forwards of the whole model for its residual stream: one that captures it, and others that go on from places of it.

A stream is captured as a step runs again. To hear what the model would say at one of its places, the whole model is
called once more with its layers passed over: the last one returns the stream of that place, and the model itself goes
on, with its own norm, head, scaling and capping. That costs the embedding and the head, and touches no cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.lens.residuals import IDS, CannotRead, Stream, StreamProbe, hidden_of
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.probes import Enough, Probe
from dap_server.protocol.errors import RequestError

CACHES = ("past_key_values", "cache_params", "mems", "state", "past_buckets_states")


class Text(NamedTuple):
    """What a model is given all at once: `ids` (B, T), and `mask` (B, T), which of them are no padding."""

    ids: Tensor
    mask: Tensor


def capture(
    tape: Tape, step: int, anatomy: Anatomy, positions: Sequence[int] | None = (-1,), text: Text | None = None
) -> Stream:
    """The residual stream of a step, which runs again.

    Args:
        positions: of the forward; None for all.
        text: the forward is over this one instead, all of it at once, and no step of the run.

    Raises:
        CannotRead, NotEnoughMemory, Cancelled.
    """
    probe = StreamProbe(anatomy, positions)
    inner: Probe = (
        probe if text is None else _Instead(probe, lambda module, a, kw: _called(module, (), _over(text, a, kw)))
    )
    with torch.no_grad():
        tape.replay(step, inner)
    return probe.stream


def speak(
    tape: Tape,
    step: int,
    anatomy: Anatomy,
    stream: Stream,
    hidden: Iterator[Tensor],
    hear: Callable[[Tensor], None],
    probe: Probe | None = None,
) -> None:
    """Has the model go on from residual streams, and tells the logits that come of each, in order.

    Args:
        hidden: each (…, B', T', …, D); for a stream that is whole, of all positions of all sequences.
        hear: called with logits (B', T', V) as the model gives them, fewer positions for a stream that is whole;
            (B, N) of a classifier.
        probe: sees what the model does with the first of them, layers left out.
    """

    def call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for state in hidden:
            hear(go_on(module, args, kwargs, anatomy, stream, state))

    with torch.no_grad():
        tape.replay(step, _Instead(probe, call))


def go_on(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], anatomy: Anatomy, stream: Stream, state: Tensor
) -> Tensor:
    """The logits that come of one residual stream: the whole model is called again, with its layers passed over.

    Args:
        module: the whole model; `args` and `kwargs` are what it was called with.
        stream: of the step or, unless it is whole, of another one: what layers return beside their hidden states.
        state: (…, B', T', …, D).
    """
    axes = stream.axes
    if not stream.is_whole:
        kwargs, args = _blank(args, kwargs, state.shape[axes.sequence], state.shape[axes.position]), ()
    with _passed_over(anatomy, stream, state):
        logits: Tensor = _called(module, args, kwargs).logits
    if not stream.is_whole and logits.shape[1:2] != state.shape[axes.position : axes.position + 1]:
        raise CannotRead("the model does not give a row of logits for every position of its residual stream")
    return logits


def _called(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls the whole model in a way that it may not be made for."""
    try:
        return module(*args, **kwargs)
    except (Enough, RequestError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CannotRead(f"this model cannot be called for its residual stream alone: {reason}") from error


def _blank(args: tuple[Any, ...], kwargs: dict[str, Any], sequences: int, positions: int) -> dict[str, Any]:
    """The arguments of a call of the model over so many positions: what it does before its layers does not matter.

    An encoder's output stays, and the mask of its text, since nothing else tells a decoder what it decodes.
    """
    name = next((n for n in IDS if n in kwargs), "input_ids")
    given = kwargs[name] if name in kwargs else args[0]
    kept = {k: v for k, v in kwargs.items() if not isinstance(v, Tensor) and k not in CACHES}
    if kept.get("encoder_outputs") is not None and "attention_mask" in kwargs:
        kept["attention_mask"] = kwargs["attention_mask"]
    blank = given[:1, -1:].expand(sequences, positions, *given.shape[2:])
    keep = {"logits_to_keep": 0} if "logits_to_keep" in kwargs else {}
    return {**kept, **keep, name: blank, "use_cache": False}


class _Instead:
    """Where a step begins to call the whole model, does something else with it, and ends the replay."""

    def __init__(self, inner: Probe | None, call: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        """`inner` sees what `call` runs."""
        self._inner, self._call = inner, call
        self._is_inside = False

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if self._is_inside:
            if self._inner is not None:
                self._inner.begins(path, module, call)
        elif path == "":
            self._is_inside = True
            self._call(module, tuple(call.f_locals["args"]), dict(call.f_locals["kwargs"]))
            raise Enough

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if self._is_inside and self._inner is not None:
            self._inner.ends(path, module, output)


def _over(text: Text, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a prefill, stretched to a longer text: no cache, and positions and types of tokens go on."""
    name = next((n for n in IDS if n in kwargs), "input_ids")
    mask_name = "decoder_attention_mask" if name.startswith("decoder") else "attention_mask"
    length = kwargs.get(name, args[0] if args else text.ids).shape[1]
    stretched = {k: v for k, v in kwargs.items() if k not in (*CACHES, "cache_position", "inputs_embeds")}
    for key, value in stretched.items():
        if key.startswith("encoder") or key in ("attention_mask", mask_name) or not isinstance(value, Tensor):
            continue
        if not value.is_floating_point() and value.shape[-1:] == (length,):
            counts = key.endswith("position_ids")
            counted = _counted(text.mask, value) if counts else None
            stretched[key] = _stretched(value, text.ids.shape[1] - length, counts) if counted is None else counted
    if mask_name in kwargs:
        stretched[mask_name] = text.mask
    return {**stretched, name: text.ids, "use_cache": False}


def _counted(mask: Tensor, positions: Tensor) -> Tensor | None:
    """(B, T) positions that count the tokens that are no padding, if `positions`, of the first of them, do so too."""
    counted = (mask.cumsum(-1) - 1).clamp_min(0)
    if positions.dim() != 2:
        return None
    length, is_text = positions.shape[1], mask[:, : positions.shape[1]].bool()
    return counted if bool((counted[:, :length] == positions)[is_text.expand_as(positions)].all()) else None


def _stretched(value: Tensor, more: int, counts: bool) -> Tensor:
    """(…, T) to (…, T + more): with its last element, or counting on from it."""
    last = value[..., -1:].expand(*value.shape[:-1], more)
    return torch.cat([value, last + torch.arange(1, more + 1, device=value.device) if counts else last], dim=-1)


@contextmanager
def _passed_over(anatomy: Anatomy, stream: Stream, state: Tensor) -> Iterator[None]:
    """Layers return what they are given, and the last call of the last one the given state.

    Their classes are patched, not they: attributes of modules are part of what a replay puts back.
    """
    layers = {anatomy.modules[path]: path for path in anatomy.layer_paths}
    rests = {place.path: place.rest for place in stream.places}
    left = [len(stream.places)]

    def result(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        hidden = hidden_of(args, kwargs)
        if path in rests:
            left[0] -= 1
            hidden = state if left[0] == 0 else hidden
        rest = rests.get(path)
        return hidden if rest is None else (hidden, *rest)

    kinds = {type(layer) for layer in layers}
    originals = {kind: vars(kind).get("__call__") for kind in kinds}
    for kind in kinds:
        type.__setattr__(kind, "__call__", _returning(layers, result, kind.__call__))
    try:
        yield
    finally:
        for kind, original in originals.items():
            if original is None:
                type.__delattr__(kind, "__call__")
            else:
                type.__setattr__(kind, "__call__", original)


def _returning(layers: dict[nn.Module, str], result: Callable[..., Any], original: Any) -> Any:
    @functools.wraps(original)
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return result(layers[self], args, kwargs) if self in layers else original(self, *args, **kwargs)

    return call
