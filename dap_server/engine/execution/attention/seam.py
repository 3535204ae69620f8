"""Where every call of attention on a thread passes while somebody listens, or changes it. Else nothing of it is there.

Transformers' models ask `AttentionInterface` for a function, the eager one included: there the tensors are as the model
made them. What does not go that way is seen by a function mode of torch: `scaled_dot_product_attention`,
`multi_head_attention_forward`, a softmax that a module computes itself, and the products around it. A call that was
dispatched is not looked into. Who changes a call comes first, so that listeners hear what became of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers.modeling_utils import AttentionInterface

_GIVEN = ("module", "query", "key", "value", "attention_mask")
"""The leading parameters of every attention function of transformers."""

Run = Callable[[], Any]
"""What was called, with what it was given."""


@dataclass(frozen=True, eq=False)
class Dispatched:
    """What one attention function of transformers was given.

    Attributes:
        kernel: what runs, such as `sdpa`.
        query: (B, H, T, D).
        key, value: (B, H or fewer when heads share them, S, D).
        mask: as the kernel takes it: None, boolean, or added to the scores; (B or 1, H or 1, T, S); (B, S) for flash
            attention; a BlockMask for flex attention.
        options: scaling, soft-capping, sinks, bias and what else the model passes.
        eager: the model's own function that gives weights.
        is_eager: whether that is also the function that runs.
    """

    module: nn.Module
    kernel: str
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any
    options: dict[str, Any]
    eager: Callable[..., Any]
    is_eager: bool


class Pattern(NamedTuple):
    """Where the heads of a call look after somebody has changed it.

    Attributes:
        values: (B, H, T, S).
        hidden: (B, H, T) rows whose every key is masked.
    """

    values: Tensor
    hidden: Tensor


class Outcome(NamedTuple):
    """What a call gives. `pattern` is None where the heads look is as it was."""

    result: Any
    pattern: Pattern | None = None


class Listener(Protocol):
    """Is told of calls after they ran."""

    def dispatched(self, call: Dispatched, pattern: Pattern | None) -> None: ...

    def computed(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, pattern: Pattern | None
    ) -> None: ...


class Editor(Protocol):
    """Runs calls, or has something else run."""

    def dispatched(self, call: Dispatched, run: Run) -> Outcome: ...

    def computed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run) -> Outcome: ...


class _Here(threading.local):
    """Who is there on this thread, and whether a dispatched function runs just now."""

    def __init__(self) -> None:
        self.editors: list[Editor] = []
        self.listeners: list[Listener] = []
        self.is_inside = False
        self.open = ExitStack()


_here = _Here()


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Every call of attention on this thread is told to a listener while this is open."""
    with _present(_here.listeners, listener):
        yield


@contextmanager
def changed(editor: Editor) -> Iterator[None]:
    """Every call of attention on this thread is made by an editor while this is open; by the last one of several."""
    with _present(_here.editors, editor):
        yield


@contextmanager
def _present(all_of_them: list[Any], one: Any) -> Iterator[None]:
    if not (_here.editors or _here.listeners):
        _here.open.enter_context(_dispatching())
        _here.open.enter_context(_Mode())
    all_of_them.append(one)
    try:
        yield
    finally:
        all_of_them.remove(one)
        if not (_here.editors or _here.listeners):
            _here.open.close()


class _Mode(TorchFunctionMode):
    """Passes on functions of torch, except inside a dispatched attention function."""

    def __torch_function__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if _here.is_inside:
            return function(*args, **given)
        if _here.editors:
            outcome = _here.editors[-1].computed(function, args, given, lambda: function(*args, **given))
        else:
            outcome = Outcome(function(*args, **given))
        for listener in list(_here.listeners):
            listener.computed(function, args, given, outcome.result, outcome.pattern)
        return outcome.result


class _Way:
    """By which transformers hands out attention functions.

    Attributes:
        threads: those that go by way of us.
        original: what is there without us.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads: list[int] = []
        self.original: Any = AttentionInterface.get_interface


_way = _Way()


@contextmanager
def _dispatching() -> Iterator[None]:
    """Every attention function that transformers hands out, and this thread calls, goes by way of us."""
    with _way.lock:
        if not _way.threads:
            _way.original = AttentionInterface.get_interface
            type.__setattr__(AttentionInterface, "get_interface", _get_interface)
        _way.threads.append(threading.get_ident())
    try:
        yield
    finally:
        with _way.lock:
            _way.threads.remove(threading.get_ident())
            if not _way.threads:
                type.__setattr__(AttentionInterface, "get_interface", _way.original)


def _get_interface(self: Any, implementation: str, default: Callable[..., Any]) -> Callable[..., Any]:
    function: Callable[..., Any] = _way.original(self, implementation, default)
    if threading.get_ident() not in _way.threads:
        return function

    def dispatch(*args: Any, **kwargs: Any) -> Any:
        call = _call(implementation, function, default, args, kwargs)
        outer, _here.is_inside = _here.is_inside, True
        try:
            if call is None or outer:
                return function(*args, **kwargs)
            if _here.editors:
                outcome = _here.editors[-1].dispatched(call, lambda: function(*args, **kwargs))
            else:
                outcome = Outcome(function(*args, **kwargs))
            for listener in list(_here.listeners):
                listener.dispatched(call, outcome.pattern)
            return outcome.result
        finally:
            _here.is_inside = outer

    return dispatch


def _call(
    implementation: str, function: Any, eager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Dispatched | None:
    """None for what is given no queries, keys and values."""
    options = dict(kwargs)
    given = dict(zip(_GIVEN, args, strict=False))
    given |= {name: options.pop(name) for name in _GIVEN if name in options}
    if not {"module", "query", "key", "value"} <= given.keys():
        return None
    return Dispatched(
        module=given["module"],
        kernel="eager" if function is eager else implementation,
        query=given["query"],
        key=given["key"],
        value=given["value"],
        mask=given.get("attention_mask"),
        options=options,
        eager=eager,
        is_eager=function is eager,
    )
