"""Hearing of every call of attention in a step that runs again. Nothing of it stays when the replay is over.

How calls are heard of is `execution/attention/seam.py`.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from types import FrameType
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional

from dap_server.engine.analysis.attention.weights import (
    AttentionCall,
    DispatchedCall,
    EditedCall,
    FusedCall,
    MultiheadCall,
    OwnSoftmax,
)
from dap_server.engine.anatomy.arguments import bind
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.attention.recognising import (
    SOFTMAX,
    batch_of,
    hidden_rows,
    is_softmax_over_keys,
    with_heads,
)
from dap_server.engine.execution.attention.seam import Dispatched, Pattern, heard
from dap_server.engine.execution.attention.text import AttentionText, Known, RunningCall, text_of
from dap_server.engine.execution.probes import Enough, Probe, is_again

_MULTIHEAD = inspect.signature(functional.multi_head_attention_forward)


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
            self._open.enter_context(heard(self))
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

    def dispatched(self, call: Dispatched, pattern: Pattern | None) -> None:
        if self._is_aside():
            return
        query, key = call.query, call.key
        path = self._anatomy.path_of(call.module)
        if path is None or query.dim() != 4 or key.dim() != 4:
            return
        text = self._text((query.shape[0], query.shape[1], query.shape[2], key.shape[2]))
        if pattern is not None:
            self.calls.append(
                EditedCall(module=call.module, path=path, kernel=call.kernel, text=text, **pattern._asdict())
            )
            return
        given = {field.name: getattr(call, field.name) for field in fields(call)}
        self.calls.append(DispatchedCall(path=path, text=text, **given))

    def computed(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, pattern: Pattern | None
    ) -> None:
        if self._is_aside():
            return
        if pattern is not None:
            module, path = self._caller()
            text = self._text(tuple(pattern.values.shape))
            self.calls.append(EditedCall(module=module, path=path, text=text, **pattern._asdict()))
        elif function is functional.scaled_dot_product_attention:
            self._fused(*args, **kwargs)
        elif function is functional.multi_head_attention_forward:
            self._multihead(_MULTIHEAD.bind(*args, **kwargs))
        elif is_softmax_over_keys(function, args, kwargs, self._running) and isinstance(result, Tensor):
            self._softmax(args[0], result)

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
        batch = batch_of(self._running)
        query, key = with_heads(query, batch), with_heads(key, batch)
        mask = attn_mask if attn_mask is None or attn_mask.dim() != 3 else with_heads(attn_mask, batch)
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

    def _softmax(self, scores: Tensor, result: Tensor) -> None:
        batch = batch_of(self._running)
        values, hidden = with_heads(result, batch), hidden_rows(with_heads(scores, batch))
        module, path = self._caller()
        text = self._text(tuple(values.shape))
        self.calls.append(OwnSoftmax(module=module, path=path, text=text, values=values, hidden=hidden))

    def _caller(self) -> tuple[nn.Module, str]:
        call = next(call for call in reversed(self._running) if not isinstance(call.module, nn.Softmax))
        return call.module, call.path

    def _text(self, shape: Any) -> AttentionText:
        return text_of(self._running, shape, self._known)


@contextlib.contextmanager
def heads_heard(report: Callable[[int], None]) -> Iterator[None]:
    """Reports how many heads a call of attention has, as it is made; keeps nothing of it."""
    with heard(_Counting(report)):
        yield


class _Counting:
    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report

    def dispatched(self, call: Dispatched, pattern: Pattern | None) -> None:
        if call.query.dim() == 4:
            self._report(call.query.shape[1])

    def computed(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, pattern: Pattern | None
    ) -> None:
        query = args[0] if args else kwargs.get("query")
        is_attention = function in SOFTMAX or function is functional.scaled_dot_product_attention
        if is_attention and isinstance(query, Tensor) and query.dim() == 4:
            self._report(query.shape[1])


def _without_doubles(calls: list[AttentionCall]) -> list[AttentionCall]:
    """One call each: a softmax beside a kernel is no attention, and the same queries and keys have the same weights."""
    dispatched = {call.path for call in calls if type(call) is not OwnSoftmax}
    kept: list[AttentionCall] = []
    for call in calls:
        if type(call) is OwnSoftmax and call.path in dispatched:
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
