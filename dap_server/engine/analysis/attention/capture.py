"""Hearing of every call of attention in a step that runs again. Nothing of it stays when the replay is over.

Transformers' models ask `AttentionInterface` for a function, the eager one included: there the tensors are as the model
made them. What does not go that way is seen by a function mode of torch: `scaled_dot_product_attention`,
`multi_head_attention_forward`, and a softmax over scores (B, H, T, S) that a module computes itself. A call that was
dispatched is not looked into.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers.modeling_utils import AttentionInterface

from dap_server.engine.analysis.attention.text import AttentionText, Known, RunningCall, text_of
from dap_server.engine.analysis.attention.weights import (
    AttentionCall,
    DispatchedCall,
    FusedCall,
    MultiheadCall,
    OwnSoftmax,
)
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.probes import Enough, Probe, is_again
from dap_server.engine.inspection.arguments import bind

_MULTIHEAD = inspect.signature(functional.multi_head_attention_forward)
_SOFTMAX = frozenset([torch.softmax, Tensor.softmax, functional.softmax, torch.special.softmax])
_GIVEN = ("module", "query", "key", "value", "attention_mask")
"""The leading parameters of every attention function of transformers."""


class Replays(Protocol):
    """What can run a module again: the tape of a call, or the call of an encoder."""

    def replay(self, step: int, probe: Probe) -> object: ...


def attention_calls(
    tape: Replays,
    step: int,
    path: str,
    anatomy: Anatomy,
    suspended: Activation | None = None,
    known: Known | None = None,
) -> list[AttentionCall]:
    """The calls of attention inside one call of a module in a step, in their order; found by a replay.

    Args:
        path: of the module, empty for the whole model.
        suspended: the call of this module that is meant, when it is suspended just now. Else it is the one that reaches
            the end of the text.
    """
    hearing = Hearing(path, anatomy, suspended, known)
    with hearing.closed_afterwards():
        tape.replay(step, hearing)
    return hearing.calls


class Hearing:
    """A probe that listens from the beginning of a call of one module to its end."""

    def __init__(
        self,
        path: str,
        anatomy: Anatomy,
        suspended: Activation | None = None,
        known: Known | None = None,
        is_aside: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_aside`: whether what runs just now is no part of the step."""
        self.calls: list[AttentionCall] = []
        self._path, self._anatomy, self._suspended = path, anatomy, suspended
        self._known, self._is_aside = known or Known(), is_aside
        self._running: list[RunningCall] = []
        self._depth: int | None = None  # how many calls are around the one that is listened to
        self._is_meant = False
        self._open = contextlib.ExitStack()

    @contextlib.contextmanager
    def closed_afterwards(self) -> Iterator[None]:
        with self._open:
            yield

    def runs(self, path: str, module: nn.Module, call: FrameType) -> None:
        """A call is under way around what is listened to."""
        arguments = bind(module, call.f_locals["args"], call.f_locals["kwargs"])
        self._running.append(RunningCall(path, module, dict(arguments)))

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if path == self._path and self._depth is None:
            self._depth, self.calls = len(self._running), []
            self._is_meant = is_again(self._suspended, module, call)
            self._open.enter_context(_dispatched(self._dispatched))
            self._open.enter_context(_Mode(self._computed))
        self.runs(path, module, call)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        self._running.pop()
        if self._depth != len(self._running):
            return
        self._depth = None
        self._open.close()
        self.calls = self.heard()
        if self._is_meant or (self._suspended is None and self._reaches_the_end()):
            raise Enough

    def heard(self) -> list[AttentionCall]:
        """What has been heard so far, each call once."""
        return _without_doubles(self.calls)

    def _reaches_the_end(self) -> bool:
        """A prefill in chunks calls a module several times in its step."""
        for call in self.calls:
            text = call.text
            if not text.is_cross and text.query_ids is not None and text.known_keys:
                return text.first_query + call.shape[2] >= text.query_ids.shape[1]
        return True

    # --- what was heard

    def _dispatched(
        self, implementation: str, given: dict[str, Any], options: dict[str, Any], eager: Any, is_eager: bool
    ) -> None:
        if self._is_aside():
            return
        module, query, key = given["module"], given["query"], given["key"]
        path = self._anatomy.path_of(module)
        if path is None or query.dim() != 4 or key.dim() != 4:
            return
        shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
        self.calls.append(
            DispatchedCall(
                module=module,
                path=path,
                kernel="eager" if is_eager else implementation,
                text=self._text(shape),
                query=query,
                key=key,
                value=given["value"],
                mask=given["attention_mask"],
                options=options,
                eager=eager,
                is_eager=is_eager,
            )
        )

    def _computed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._is_aside():
            return
        if function is functional.scaled_dot_product_attention:
            self._fused(*args, **kwargs)
        elif function is functional.multi_head_attention_forward:
            self._multihead(_MULTIHEAD.bind(*args, **kwargs))
        elif function in _SOFTMAX and isinstance(result, Tensor) and args:
            self._softmax(args[0], kwargs.get("dim", args[1] if len(args) > 1 else None), result)

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        batch = self._batch()
        query, key = _with_heads(query, batch), _with_heads(key, batch)
        mask = attn_mask if attn_mask is None or attn_mask.dim() != 3 else _with_heads(attn_mask, batch)
        module, path = self._caller()
        shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
        self.calls.append(
            FusedCall(
                module=module,
                path=path,
                kernel="sdpa",
                text=self._text(shape),
                query=query,
                key=key,
                mask=mask,
                scale=scale,
                is_causal=is_causal,
            )
        )

    def _multihead(self, given: inspect.BoundArguments) -> None:
        given.apply_defaults()
        arguments = dict(given.arguments)
        if arguments["query"].dim() == 2:  # without a batch
            for name in ("query", "key", "value"):
                arguments[name] = arguments[name][:, None]
            if arguments["key_padding_mask"] is not None:
                arguments["key_padding_mask"] = arguments["key_padding_mask"][None]
        module, path = self._caller()
        call = MultiheadCall(module=module, path=path, kernel="torch.nn.MultiheadAttention", arguments=arguments)
        self.calls.append(replace(call, text=self._text(call.shape)))

    def _softmax(self, scores: Tensor, dim: int | None, result: Tensor) -> None:
        """Scores over the last axis are attention if they are (B, H, T, S) or (B · H, T, S) for the states at hand."""
        if dim is None or dim % max(result.dim(), 1) != result.dim() - 1 or result.dim() not in (3, 4):
            return
        batch = self._batch()
        if result.dim() == 3 and (result.shape[0] % batch or result.shape[0] == batch):
            return
        values, scores = _with_heads(result, batch), _with_heads(scores, batch)
        if (values.shape[0], values.shape[2]) not in self._states():
            return
        module, path = self._caller()
        hidden = ~(scores > torch.finfo(scores.dtype).min / 2).any(dim=-1)
        text = self._text(tuple(values.shape))
        self.calls.append(OwnSoftmax(module=module, path=path, text=text, values=values, hidden=hidden))

    def _caller(self) -> tuple[nn.Module, str]:
        call = next(call for call in reversed(self._running) if not isinstance(call.module, nn.Softmax))
        return call.module, call.path

    def _batch(self) -> int:
        """B of the call of the whole model, as far as its arguments tell."""
        for call in self._running:
            for value in call.arguments.values():
                if isinstance(value, Tensor) and value.dim() >= 2:
                    return value.shape[0]
        return 1

    def _states(self) -> set[tuple[int, int]]:
        """(B, T) of the states (B, T, D), or (T, B, D), that the calls around were given."""
        shapes = [
            value.shape[:2]
            for call in self._running
            for value in call.arguments.values()
            if isinstance(value, Tensor) and value.dim() == 3
        ]
        return {(a, b) for a, b in shapes} | {(b, a) for a, b in shapes}

    def _text(self, shape: Any) -> AttentionText:
        return text_of(self._running, shape, self._known)


@contextlib.contextmanager
def heads_heard(report: Callable[[int], None]) -> Iterator[None]:
    """Reports how many heads a call of attention has, as it is made; keeps nothing of it."""

    def dispatched(_name: str, given: dict[str, Any], *_: Any) -> None:
        if given["query"].dim() == 4:
            report(given["query"].shape[1])

    def computed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        query = args[0] if args else kwargs.get("query")
        is_attention = function in _SOFTMAX or function is functional.scaled_dot_product_attention
        if is_attention and isinstance(query, Tensor) and query.dim() == 4:
            report(query.shape[1])

    with _dispatched(dispatched), _Mode(computed):
        yield


class _Mode(TorchFunctionMode):
    """Reports functions of torch after they ran, except inside a dispatched attention function."""

    def __init__(self, report: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]) -> None:
        super().__init__()
        self._report = report

    def __torch_function__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        result = function(*args, **given)
        if not _inside.dispatched:
            self._report(function, args, given, result)
        return result


class _Inside(threading.local):
    dispatched = False


_inside = _Inside()


@contextlib.contextmanager
def _dispatched(report: Callable[[str, dict[str, Any], dict[str, Any], Any, bool], None]) -> Iterator[None]:
    """Reports every attention function that transformers hands out and this thread calls, eager ones included."""
    original, thread = AttentionInterface.get_interface, threading.get_ident()

    def get_interface(self: Any, implementation: str, default: Callable[..., Any]) -> Callable[..., Any]:
        function: Callable[..., Any] = original(self, implementation, default)
        if threading.get_ident() != thread:
            return function

        def dispatch(*args: Any, **kwargs: Any) -> Any:
            options = dict(kwargs)
            given = dict(zip(_GIVEN, args, strict=False))
            given |= {name: options.pop(name) for name in _GIVEN if name in options}
            if {"module", "query", "key", "value"} <= given.keys():
                report(implementation, {"attention_mask": None, **given}, options, default, function is default)
            _inside.dispatched = True
            try:
                return function(*args, **kwargs)
            finally:
                _inside.dispatched = False

        return dispatch

    type.__setattr__(AttentionInterface, "get_interface", get_interface)
    try:
        yield
    finally:
        type.__setattr__(AttentionInterface, "get_interface", original)


def _with_heads(tensor: Tensor, batch: int) -> Tensor:
    """(B, H, T, D) of (B · H, T, D), of (T, D) and of itself."""
    if tensor.dim() == 4:
        return tensor
    tensor = tensor.reshape(-1, *tensor.shape[-2:])
    heads = tensor.shape[0] // batch if tensor.shape[0] % batch == 0 else tensor.shape[0]
    return tensor.reshape(-1, heads, *tensor.shape[1:])


def _without_doubles(calls: list[AttentionCall]) -> list[AttentionCall]:
    """One call each: a softmax beside a kernel is no attention, and the same queries and keys have the same weights."""
    dispatched = {call.path for call in calls if not isinstance(call, OwnSoftmax)}
    kept: list[AttentionCall] = []
    for call in calls:
        if isinstance(call, OwnSoftmax) and call.path in dispatched:
            continue
        if isinstance(call, DispatchedCall | FusedCall) and any(_is_same(call, other) for other in kept):
            continue
        kept.append(call)
    return kept


def _is_same(one: DispatchedCall | FusedCall, other: AttentionCall) -> bool:
    """Differential attention asks twice, for two halves of the values."""
    return (
        isinstance(other, DispatchedCall | FusedCall)
        and one.module is other.module
        and one.query is other.query
        and one.key is other.key
    )
