"""One forward on the meta device: which modules are called, in which order, with what shapes, at what cost.

Shapes depend on the text. The forward runs twice, on texts of different sizes: what has changed is named by the size
that it follows, and what follows none is left open, never given as a number that holds for one text alone.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dap_server.engine.anatomy.meta import META
from dap_server.engine.anatomy.shapes import Shape, first_tensor, shape_text

aten = torch.ops.aten
_OF_ALL = (aten.all, aten._is_all_true)
_OF_ANY = (aten.any, aten._is_any_true)


class Sizes(NamedTuple):
    """Of a text; primes, so that a multiple of one is told from a multiple of another."""

    batch: int
    length: int
    source: int
    """Length of the text of an encoder, where there is one beside the decoder's."""


TEXTS = (Sizes(101, 17, 17), Sizes(107, 11, 13))
"""Short, since some models go through a text position by position, and the positions of others end early. Operations
are counted in the first, where encoder and decoder have as many tokens.
"""


@dataclass
class Calls:
    """What one forward has called.

    Attributes:
        first: of every module that was called, in order, the shapes of its first call; None where there is no tensor.
        times: how often each was called.
        flops: operations in all its calls, inner ones included.
        used: ids of the parameters that some operation was given.
        looks_for_values: whether it asks if some value is in the text.
    """

    first: dict[str, tuple[Shape | None, Shape | None]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    flops: Counter[str] = field(default_factory=Counter)
    used: set[int] = field(default_factory=set)
    looks_for_values: bool = False


@dataclass
class Trace:
    """What a model does in a forward, whatever the text.

    Attributes:
        inputs: shape of the first tensor that each called module is given, as text; in call order.
        outputs: of the first that it returns.
        times: how often each was called.
        flops: operations per token.
        used: ids of the parameters that are used.
        rare: what is called besides, where some value is in the text.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    times: Counter[str]
    flops: dict[str, float]
    used: set[int]
    rare: list[str]


def trace(model: nn.Module, is_seq2seq: bool) -> Trace:
    """Traces a model that is on the meta device, which keeps no hook; with a text for encoder and decoder each.

    Raises:
        Exception: whatever the forward raises; of several attempts, that of the first.
    """
    failure: Exception | None = None
    for dtype in (None, torch.float32):
        try:
            if dtype is not None:
                model = model.to(dtype)
            one, other = (_one_forward(model, sizes, is_seq2seq) for sizes in TEXTS)
            return _general(one, other, _rare_calls(model, one, is_seq2seq))
        except Exception as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _rare_calls(model: nn.Module, usual: Calls, is_seq2seq: bool) -> list[str]:
    """What is called only for a text in which a forward finds what it looks for; all that may be, if it cannot run."""
    others = [path for path, _ in model.named_modules() if path not in usual.first]
    if not usual.looks_for_values or not others:
        return []
    try:
        found = _one_forward(model, TEXTS[0], is_seq2seq, finds=True)
    except Exception:
        return others
    return [path for path in found.first if path not in usual.first]


def _general(one: Calls, other: Calls, rare: list[str]) -> Trace:
    units = list(zip(*map(_units, TEXTS), strict=True))
    inputs, outputs = {}, {}
    for path, (given, returned) in one.first.items():
        other_given, other_returned = other.first.get(path, (None, None))
        inputs[path] = shape_text(given, other_given, units)
        outputs[path] = shape_text(returned, other_returned, units)
    tokens = TEXTS[0].batch * TEXTS[0].length
    flops = {path: count / tokens for path, count in one.flops.items() if count}
    return Trace(inputs, outputs, one.times, flops, one.used, rare)


def _units(sizes: Sizes) -> list[tuple[str, int]]:
    batch, length, source = sizes
    return [("B·T", batch * length), ("B·S", batch * source), ("B", batch), ("T", length), ("S", source)]


def _one_forward(model: nn.Module, sizes: Sizes, is_seq2seq: bool, finds: bool = False) -> Calls:
    paths = {module: path for path, module in model.named_modules()}
    recorder = _Recorder(paths, finds)
    handles = [handle for module in paths for handle in recorder.hooks(module)]
    try:
        with torch.no_grad(), META, recorder:
            model(**_inputs(model, sizes, is_seq2seq))
    finally:
        for handle in handles:
            handle.remove()
    return recorder.calls


def _inputs(model: nn.Module, sizes: Sizes, is_seq2seq: bool) -> dict[str, Tensor]:
    """Token ids under the names that the forward has for them."""
    ids = torch.zeros(sizes.batch, sizes.length, dtype=torch.long, device=META)
    names = list(inspect.signature(model.forward).parameters)
    if "input_ids" not in names:
        return {names[0]: ids} if names else {}
    if is_seq2seq and "decoder_input_ids" in names:
        source = torch.zeros(sizes.batch, sizes.source, dtype=torch.long, device=META)
        return {"input_ids": source, "decoder_input_ids": ids}
    return {"input_ids": ids}


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here, nor below
    """Hears every module call by hooks, every operation as a dispatch mode.

    What a forward asks of the values of its text is answered as for an ordinary one: what it checks of all of them
    holds; what it looks for among them is there if `finds` says so.
    """

    def __init__(self, paths: dict[nn.Module, str], finds: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = Calls()
        self._paths = paths
        self._running: list[str] = []
        self._own: list[int] = []
        self._parameters = {id(one) for module in paths for one in module._parameters.values() if one is not None}
        self._finds = finds
        self._answers: dict[int, tuple[Tensor, bool]] = {}

    def hooks(self, module: nn.Module) -> Iterable[Any]:
        return (
            module.register_forward_pre_hook(self._enter, with_kwargs=True),
            module.register_forward_hook(self._leave),
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operation = func._overloadpacket
        if operation is aten._local_scalar_dense and id(args[0]) in self._answers:
            return self._answers[id(args[0])][1]
        result = func(*args, **(kwargs or {}))
        if operation in _OF_ALL or (operation is aten.eq and not result.dim()):
            self._answers[id(result)] = (result, True)
        elif operation in _OF_ANY:
            self._answers[id(result)] = (result, self._finds)
            self.calls.looks_for_values = True
        self.calls.used.update(id(one) for one in _flat(args) if id(one) in self._parameters)
        count = flop_registry.get(operation) or _COUNTS.get(operation)
        if count is not None and self._own:
            self._own[-1] += int(count(*args, **(kwargs or {}), out_val=result))
        return result

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        path = self._paths[module]
        self._running.append(path)
        self._own.append(0)
        self.calls.times[path] += 1
        if path not in self.calls.first:
            order = _parameter_names(type(module).forward)
            given = [kwargs[name] for name in sorted(kwargs, key=lambda name: order.get(name, len(order)))]
            self.calls.first[path] = (_shape([*args, *given]), None)

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        path = self._running.pop()
        inside = self._own.pop()
        if self._own:
            self._own[-1] += inside
        if path not in self._running:  # a module inside of itself is counted once
            self.calls.flops[path] += inside
        if self.calls.first[path][1] is None:
            self.calls.first[path] = (self.calls.first[path][0], _shape(output))


@functools.cache
def _parameter_names(forward: Callable[..., Any]) -> dict[str, int]:
    """The names that a forward gives its arguments, numbered."""
    return {name: i for i, name in enumerate(inspect.signature(forward).parameters)}


def _shape(value: Any) -> Shape | None:
    tensor = first_tensor(value)
    return None if tensor is None else tuple(tensor.shape)


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """What an operation is given, what is in lists too."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _grouped_product(one: Tensor, other: Tensor, *_: Any, out_val: Any = None, **__: Any) -> int:
    """Of (N, D) tokens and (E, D, F) experts: each token meets one."""
    del out_val
    return 2 * one.numel() * other.shape[-1]


_COUNTS: dict[Any, Callable[..., int]] = {aten._grouped_mm: _grouped_product}
"""Products that torch's own registry does not count."""
