"""Instruments that have a replayed forward build a graph, from a few tensors on and from nothing else.

The suspended run may be in `no_grad` or in inference mode, and so is all that it holds: the calls of the whole model
leave both, with copies of what inference mode made. No parameter takes part that is not asked for, so that the graph
begins where the first chosen tensor is, and no `.grad` is written.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput

from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.probes import Enough, is_again
from dap_server.engine.execution.values import mapped
from dap_server.modelmap.places import LOGITS, Phase

Part = Literal["inputs", "output"]

Names = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], dict[str, Any]]
"""Gives the arguments of a module's call by name."""


class Tap:
    """Takes hold of the tensors that go into a module and come out of it, call by call."""

    def __init__(self, module: nn.Module, parts: Sequence[Part], names: Names, is_every_call: bool = False) -> None:
        self.module, self._is_every_call = module, is_every_call
        self.calls: list[dict[str, Tensor]] = []
        """What every call was given and gave, by name: nodes of the graph."""
        self.chosen: int | None = None
        """Which of them is meant; the last one for None."""
        self._parts, self._names = parts, names

    @property
    def found(self) -> dict[str, Tensor]:
        """Of the call that is meant, empty if there was none; of every call, numbered, where they make one whole."""
        if not self.calls:
            return {}
        if self._is_every_call:
            return {f"{name}#{i}": node for i, call in enumerate(self.calls) for name, node in call.items()}
        return self.calls[-1 if self.chosen is None else min(self.chosen, len(self.calls) - 1)]

    @contextmanager
    def installed(self) -> Iterator[None]:
        handles = [
            self.module.register_forward_pre_hook(lambda _, args, kwargs: self.given(args, kwargs), with_kwargs=True),
            self.module.register_forward_hook(lambda _, _args, output: self.gave(output)),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A call begins with these; returns what it is to be given instead."""
        self.calls.append({})
        if "inputs" not in self._parts:
            return args, kwargs
        known = {id(value): name for name, value in self._names(self.module, args, kwargs).items()}
        held = [self._hold(value, known.get(id(value), f"args[{i}]")) for i, value in enumerate(args)]
        return tuple(held), {name: self._hold(value, name) for name, value in kwargs.items()}

    def gave(self, output: Any) -> Any:
        """The call ends with this; returns what it is to give instead."""
        return self._hold(output, "output") if "output" in self._parts else output

    def _hold(self, value: Any, name: str) -> Any:
        """The value with its tensors in the graph. The model gets a copy of the node, which it may write into."""
        if isinstance(value, Tensor):
            if not value.is_floating_point() or isinstance(value, nn.Parameter) or name.endswith("mask"):
                return value
            node = value.clone() if value.requires_grad else value.detach().clone().requires_grad_()
            self.calls[-1][name] = node
            return node.clone()
        if type(value) in (list, tuple):
            return type(value)(self._hold(item, f"{name}[{i}]") for i, item in enumerate(value))
        if type(value) is dict:
            return {key: self._hold(item, f"{name}.{key}") for key, item in value.items()}
        if isinstance(value, ModelOutput):
            return type(value)(**{key: self._hold(item, f"{name}.{key}") for key, item in value.items()})
        return value


class GradientProbe:
    """Holds what a step's last call of the whole model gave, with the graph that leads there from the taps."""

    def __init__(
        self, model: nn.Module, taps: Sequence[Tap], parameters: Sequence[nn.Parameter], suspended: Activation | None
    ) -> None:
        """`suspended`: the call that is looked at, or before which the last one is; None for the last of the step."""
        self.output: Any = None
        self.given: dict[str, Any] = {}
        """What the whole model was given by keyword."""
        self.parameters: dict[nn.Parameter, Tensor] = {}
        """What stands for each parameter in the graph; most often the parameter itself."""
        self._model, self._taps, self._wanted, self._suspended = model, taps, parameters, suspended
        self._is_step = self._is_on = self._is_past = False

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        self._is_step |= path == ""
        if not self._is_past and is_again(self._suspended, module, call):
            self._is_past = True
            for tap in self._taps:
                tap.chosen = len(tap.calls) - (tap.module is not module)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        pass

    def at(self, name: str, phase: Phase) -> None:
        """Token selection may call the model too, which is not meant."""
        if name == LOGITS and phase == "before":
            raise Enough

    @contextmanager
    def installed(self, backward: Callable[[bool], None]) -> Iterator[None]:
        """While this is open, the model builds a graph in the steps that the probe sees.

        Its class is patched, not it: attributes of modules are part of what a replay puts back.

        Args:
            backward: called once there is all of the graph, or so far each time; told whether to keep it.
        """
        kind, thread = type(self._model), threading.get_ident()
        original = kind.forward

        @functools.wraps(original)
        def forward(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if model is not self._model or not self._is_step or self._is_on or threading.get_ident() != thread:
                return original(model, *args, **kwargs)
            return self._forward(original, args, kwargs, backward)

        type.__setattr__(kind, "forward", forward)
        try:
            yield
        finally:
            type.__setattr__(kind, "forward", original)
        if self.output is None:
            raise RuntimeError("the forward of the whole model did not run, or something else stands in its place")
        self._finish(backward)

    def _finish(self, backward: Callable[[bool], None]) -> None:
        """What is checkpointed runs again in the backward pass, and has to be as it was."""
        with torch.inference_mode(False), torch.enable_grad(), self._only_wanted_parameters(), self._tapped():
            backward(False)

    def _forward(
        self,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        backward: Callable[[bool], None],
    ) -> Any:
        with torch.inference_mode(False), torch.enable_grad():
            args, kwargs = _owned(args), _owned(kwargs)
            whole = [tap for tap in self._taps if tap.module is self._model]
            self._is_on = True
            try:
                with self._only_wanted_parameters(), self._tapped():
                    for tap in whole:
                        args, kwargs = tap.given(args, kwargs)
                    self.output, self.given = original(self._model, *args, **kwargs), kwargs
                    for tap in whole:
                        self.output = tap.gave(self.output)
            finally:
                self._is_on = False
        return self.output

    @contextmanager
    def _tapped(self) -> Iterator[None]:
        """With the taps of parts of the model."""
        with ExitStack() as stack:
            for tap in self._taps:
                if tap.module is not self._model:
                    stack.enter_context(tap.installed())
            yield

    @contextmanager
    def _only_wanted_parameters(self) -> Iterator[None]:
        """Parameters that are not asked for are constants; what inference mode made is replaced by copies."""
        flags = [(p, p.requires_grad) for p in self._model.parameters() if not p.is_inference()]
        wanted = {id(p) for p in self._wanted}
        replaced: list[tuple[dict[str, Any], str, Tensor, Tensor]] = []
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(id(parameter) in wanted)
            for module in self._model.modules():
                tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
                for held in tables:
                    for name, value in held.items():
                        if isinstance(value, Tensor) and value.is_inference():
                            replaced.append((held, name, value, self._stand_in(value, id(value) in wanted)))
            for held, name, _, stand_in in replaced:
                held[name] = stand_in
            for parameter in self._wanted:
                self.parameters.setdefault(parameter, parameter)
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            for held, name, value, stand_in in replaced:
                if held.get(name) is stand_in:  # else it is state, which the forward has moved on
                    held[name] = value

    def _stand_in(self, value: Any, is_wanted: bool) -> Tensor:
        """A copy, the same one for every call and for weights that are tied."""
        if value not in self.parameters:
            copy = value.detach().clone()
            self.parameters[value] = nn.Parameter(copy, is_wanted) if isinstance(value, nn.Parameter) else copy
        return self.parameters[value]


class MutationProbe(GradientProbe):
    """For models that write into what the backward pass needs, such as the state in their cache: it is copied first.

    That lasts only as long as the forward, so that the backward pass has to be made inside of it.
    """

    def _forward(self, *call: Any) -> Any:
        with torch.inference_mode(False), torch.autograd.graph.allow_mutation_on_saved_tensors():
            output = super()._forward(*call)
            with torch.enable_grad():
                call[-1](True)
        return output

    def _finish(self, backward: Callable[[bool], None]) -> None:
        pass


def _owned(value: Any) -> Any:
    """The same without tensors of inference mode, which no graph can hold."""
    return mapped(value, _own)


def _own(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, Cache) or type(value).__name__.endswith("Cache"):
        for part in (value, *getattr(value, "layers", ()), *_inner(value)):  # a view of the replay's own
            vars(part).update({name: _owned(item) for name, item in vars(part).items() if not _is_cache(item)})
    return value


def _inner(cache: Any) -> list[Any]:
    """The layers of the caches that a cache is made of."""
    caches = [item for item in vars(cache).values() if _is_cache(item)]
    return [part for inner in caches for part in (inner, *getattr(inner, "layers", ()))]


def _is_cache(value: Any) -> bool:
    return isinstance(value, Cache)
