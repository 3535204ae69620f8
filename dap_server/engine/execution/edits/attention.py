"""Edits of attention: what heads give, where they look, and the scores of that.

What heads give is changed after the kernel ran. Where they look is not known to most kernels, so a call whose pattern
or scores are changed is computed a second time, by the model's own eager function or by definition; the rows that this
changes take the place of the kernel's, the others keep their bits.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from dap_server.engine.anatomy.arguments import bind
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import memory
from dap_server.engine.execution.activations import live_activations
from dap_server.engine.execution.attention.definition import Passing, multi_head_attention, scores_of
from dap_server.engine.execution.attention.masks import added_mask
from dap_server.engine.execution.attention.recognising import (
    PRODUCTS,
    SOFTMAX,
    axes_of_product,
    batch_of,
    hidden_rows,
    is_softmax_over_keys,
    with_heads,
)
from dap_server.engine.execution.attention.seam import Dispatched, Outcome, Pattern, Run, changed
from dap_server.engine.execution.attention.text import AttentionText, Known, RunningCall, text_of
from dap_server.engine.execution.edits import patterns
from dap_server.engine.execution.edits.changes import Moment
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Target
from dap_server.engine.execution.edits.outcomes import Outcomes, unseen
from dap_server.engine.execution.probes import asides

Shape = tuple[int, int, int, int]
"""B, H, T, S."""

_BYTES = 32
"""For each weight of a call, at once: scores, shares and masks in float32, before and after."""


@dataclass
class _Call:
    """A call of an edited module that is under way.

    Attributes:
        depth: how many calls are around it.
        met: the edits that found their value in it.
    """

    path: str
    step: int
    edits: Sequence[Edit]
    depth: int
    met: set[int] = field(default_factory=set)


@dataclass
class _Weights:
    """The softmax of a call that is computed by definition.

    Attributes:
        shape: (B, H, T, S), S without what a sink adds.
        rows: (B, H, T) which of them have been changed.
    """

    shape: Shape
    text: AttentionText
    rows: Tensor
    pattern: Pattern


class AttentionEdits:
    """Changes the calls of attention inside of edited modules; on this thread, and not in what runs aside."""

    def __init__(self, anatomy: Anatomy, outcomes: Outcomes) -> None:
        self._anatomy, self._outcomes = anatomy, outcomes
        self._thread, self._asides = threading.get_ident(), asides()
        self._calls: list[_Call] = []
        self._weights: _Weights | None = None  # whose product with the values is still to come
        self._missed: dict[int, str] = {}
        self._seam = ExitStack()

    def begins(self, path: str, step: int, edits: Sequence[Edit], depth: int) -> None:
        """A call of a module that has edits of `AttentionValue`, in the order of the list."""
        if not self._calls:
            self._seam.enter_context(changed(self))
        self._calls.append(_Call(path, step, edits, depth))

    def ends(self, depth: int) -> None:
        """A module call, with or without edits."""
        if not self._calls or self._calls[-1].depth != depth:
            return
        call = self._calls.pop()
        if not self._calls:
            self.close()
        for edit in call.edits:
            if edit.id not in call.met and edit.id not in self._outcomes.problems and edit.id not in self._outcomes.met:
                what = "where its heads look" if _look([edit.target]) else "what its heads give"
                self._missed[edit.id] = f"'{call.path}' computes no attention of which {what} can be told"
                self._outcomes.problems[edit.id] = self._missed[edit.id]

    def close(self) -> None:
        self._calls.clear()
        self._weights = None
        self._seam.close()

    # --- the calls

    def dispatched(self, call: Dispatched, run: Run) -> Outcome:
        wanted = self._wanted()
        if not wanted or call.query.dim() != 4 or call.key.dim() != 4:
            return Outcome(run())
        shape = (*call.query.shape[:3], call.key.shape[2])
        text = _text(self._running(), shape)
        is_looking = _look(wanted) and self._fits(shape, call.query.device)
        outcome = self._looking_elsewhere(call, run, shape, text) if is_looking else Outcome(run())
        output = _first(outcome.result)  # (B, T, H, d)
        given = output.reshape(*output.shape[:2], shape[1], -1) if output.dim() == 3 else output
        if not _of(wanted, "heads") or given.shape[:3] != (shape[0], shape[2], shape[1]):
            return outcome
        with unseen():
            new = _laid_out(self._made("heads", given, text).reshape(output.shape), output)
        return Outcome(_with_first(outcome.result, new), outcome.pattern)

    def _looking_elsewhere(self, call: Dispatched, run: Run, shape: Shape, text: AttentionText) -> Outcome:
        """By the model's own eager function, whose softmax is changed on the way."""
        made: list[_Weights] = []

        def softmax(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _run: Run) -> Any:
            scores = args[0] if args else None
            if made or function not in SOFTMAX or not self._wanted() or not isinstance(scores, Tensor):
                return _run()
            if scores.dim() != 4 or scores.shape[:3] != shape[:3] or scores.shape[3] < shape[3]:
                return _run()
            weights, result = self._softmax(lambda s: function(s, *args[1:], **kwargs), scores, shape, text)
            made.append(weights)
            return result

        if call.is_eager:
            with Passing(softmax):
                result = run()
            return Outcome(result, made[0].pattern if made else None)
        with _disable_current_modes(), Passing(softmax):  # what it computes is no operation of the model
            mask = torch.cat([added_mask(call, sequence) for sequence in range(shape[0])])
            states = call.query, call.key, call.value
            result = call.eager(call.module, *states, mask, **{**call.options, "dropout": 0.0})
        plain = run()
        if not made:
            return Outcome(plain)
        with unseen():
            computed, kernels, rows = _first(result), _first(plain), made[0].rows.transpose(1, 2)[..., None]
            both = torch.where(rows, computed.reshape(*rows.shape[:3], -1), kernels.reshape(*rows.shape[:3], -1))
            new = _laid_out(both.reshape(kernels.shape), kernels)
        return Outcome(_with_first(plain, new), made[0].pattern)

    def computed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run) -> Outcome:
        if function not in _HEARD or not self._wanted():
            return Outcome(run())
        if function is functional.scaled_dot_product_attention:
            return self._fused(run, *args, **kwargs)
        if function is functional.multi_head_attention_forward:
            return self._multihead(args, kwargs)
        if function in PRODUCTS:
            return self._product(function, args, run)
        running = self._running()
        if not is_softmax_over_keys(function, args, kwargs, running):
            return Outcome(run())
        scores: Tensor = args[0]
        b, h, t, s = with_heads(scores, batch_of(running)).shape
        self._weights, result = self._softmax(
            lambda given: function(given, *args[1:], **kwargs), scores, (b, h, t, s), _text(running, (b, h, t, s))
        )
        return Outcome(result, self._weights.pattern if _look(self._wanted()) else None)

    def _multihead(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
        """Torch's function itself, so that what it calls is seen."""
        made: list[Pattern] = []

        def inside(function: Any, inner: tuple[Any, ...], given: dict[str, Any], run: Run) -> Any:
            outcome = self.computed(function, inner, given, run)
            made.extend([outcome.pattern] if outcome.pattern is not None else [])
            return outcome.result

        with Passing(inside):
            result = multi_head_attention(*args, **kwargs)
        return Outcome(result, made[0] if made else None)

    def _fused(
        self,
        run: Run,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Outcome:
        running, result, wanted = self._running(), run(), self._wanted()
        batch = batch_of(running)
        states = [with_heads(tensor, batch) for tensor in (query, key, value)]
        shape, pattern = (*states[0].shape[:3], states[1].shape[2]), None
        text = _text(running, shape)
        with unseen():
            output: Tensor = with_heads(result, batch)  # (B, H, T, d)
            if _look(wanted) and self._fits(shape, query.device):
                mask = attn_mask if attn_mask is None or attn_mask.dim() != 3 else with_heads(attn_mask, batch)
                scores = scores_of(states[0], states[1], mask, is_causal, scale)
                weights, shares = self._softmax(lambda given: given.softmax(-1), scores, shape, text)
                mixed = shares @ states[2].repeat_interleave(shape[1] // states[2].shape[1], dim=1).to(shares.dtype)
                output, pattern = torch.where(weights.rows[..., None], mixed.to(output.dtype), output), weights.pattern
            if _of(wanted, "heads"):
                output = self._made("heads", output.transpose(1, 2), text).transpose(1, 2)
            return Outcome(_laid_out(output.reshape(result.shape), result), pattern)

    def _product(self, function: Any, args: tuple[Any, ...], run: Run) -> Outcome:
        """Of the weights of a softmax before and the values: what heads give."""
        if self._weights is None or not _of(self._wanted(), "heads"):
            return Outcome(run())
        (b, h, t, _), text = self._weights.shape, self._weights.text
        order = axes_of_product(function, args, self._weights.shape)
        if order is None:
            return Outcome(run())
        self._weights, result = None, run()
        with unseen():
            output = result.reshape(b, h, t, -1) if function is not torch.einsum else result
            new = self._made("heads", output.permute(order), text)
            back = new.permute([order.index(axis) for axis in range(4)])
            return Outcome(_laid_out(back.reshape(result.shape), result))

    # --- what is made of them

    def _softmax(
        self, softmax: Callable[[Tensor], Tensor], scores: Tensor, shape: Shape, text: AttentionText
    ) -> tuple[_Weights, Tensor]:
        """A softmax whose scores and result are changed. What the mask hides from a query stays hidden from it."""
        with unseen():
            before = scores.reshape(*shape[:3], -1)[..., : shape[3]]
            is_open = before > torch.finfo(before.dtype).min / 2
            wanted = self._made("scores", before, text)
            scores = scores if wanted is before else _beside_sink(torch.where(is_open, wanted, before), scores)
        shares = softmax(scores)
        with unseen():
            given = scores.reshape(*shape[:3], -1)[..., : shape[3]]
            pattern = shares.reshape(*shape[:3], -1)[..., : shape[3]]
            new = self._made("pattern", pattern, text)
            if new is not pattern:
                new = torch.where(is_open, new, pattern)
                shares = _beside_sink(new, shares)
            rows = (given != before).any(-1) | (new != pattern).any(-1)
            return _Weights(shape, text, rows, Pattern(new, hidden_rows(before))), shares

    def _made(self, kind: str, value: Tensor, text: AttentionText) -> Tensor:
        """What all edits of a kind make of a value, in the order of their numbers."""
        meant: dict[int, tuple[_Call, Edit, AttentionValue]] = {}
        for call in reversed(self._calls):  # modules around a module may be named by the same edit
            for edit in call.edits:
                if isinstance(edit.target, AttentionValue) and edit.target.value == kind:
                    call.met.add(edit.id)
                    meant[edit.id] = (call, edit, edit.target)
        for number in sorted(meant):
            call, edit, target = meant[number]
            if number in self._missed:  # in another module of those that it names
                self._outcomes.problems.pop(number, None)
            moment = Moment(call.step, call.path)
            change = functools.partial(patterns.changed, target, edit.change, value, text, moment)
            value = self._outcomes.apply(edit, call.step, change, value)
        return value

    def _fits(self, shape: Shape, device: torch.device) -> bool:
        """Whether there is memory for scores and shares of a call, which a kernel does not need."""
        try:
            memory.require(math.prod(shape) * _BYTES, device, f"attention of {shape[2]} × {shape[3]}", "edit its heads")
        except memory.NotEnoughMemory as error:
            for call in self._calls:
                for edit in call.edits:
                    if _look([edit.target]):
                        call.met.add(edit.id)
                        self._outcomes.problems[edit.id] = str(error)
            return False
        return True

    def _wanted(self) -> list[Target]:
        """Of the calls that are under way."""
        if threading.get_ident() != self._thread or asides() != self._asides:
            return []
        return [edit.target for call in self._calls for edit in call.edits]

    def _running(self) -> list[RunningCall]:
        calls = reversed(live_activations(sys._getframe(1)))
        return [
            RunningCall(path, call.module, bind(call.module, call.args, call.kwargs))
            for call in calls
            if (path := self._anatomy.path_of(call.module)) is not None
        ]


_HEARD = SOFTMAX | PRODUCTS | {functional.scaled_dot_product_attention, functional.multi_head_attention_forward}


def _text(running: Sequence[RunningCall], shape: Shape) -> AttentionText:
    with unseen():
        return text_of(running, shape, Known())


def _of(wanted: Sequence[Target], kind: str) -> bool:
    return any(isinstance(target, AttentionValue) and target.value == kind for target in wanted)


def _look(wanted: Sequence[Target]) -> bool:
    """Whether one of them is about where heads look."""
    return _of(wanted, "pattern") or _of(wanted, "scores")


def _beside_sink(values: Tensor, before: Tensor) -> Tensor:
    """Other values (B, H, T, S) in the place of the first S in each row; behind them a sink may stand."""
    rest = before.reshape(*values.shape[:3], -1)[..., values.shape[3] :]
    return _laid_out(torch.cat([values, rest], dim=-1).reshape(before.shape), before)


def _first(result: Any) -> Tensor:
    tensor: Tensor = result[0] if isinstance(result, tuple) else result
    return tensor


def _with_first(result: Any, tensor: Tensor) -> Any:
    return (tensor, *result[1:]) if isinstance(result, tuple) else tensor


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """In memory as another one: a model may go on with a view of it."""
    return tensor if tensor is like or tensor.stride() == like.stride() else like.clone().copy_(tensor)
