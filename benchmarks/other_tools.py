"""What else a person would take to find where a value is wrong: each on a model of its own, ready to generate."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.debug_utils import DebugUnderflowOverflow

from benchmarks.subjects import Subject

Run = Callable[[], Tensor]
LIMIT = 1e9


class Found(Exception):
    """What was never to be found."""


def norm_hooks(subject: Subject) -> Run:
    """A forward hook on every layer that reads the norm of the output."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.norm() > LIMIT:
            raise Found

    model = subject.twin()
    for layer in _layers(model):
        layer.register_forward_hook(hook)
    return lambda: subject.generated_by(model)


def nnsight(subject: Subject) -> Run | None:
    """Reads the norm of every layer's output in a trace of `generate`; None where it is not installed."""
    if find_spec("nnsight") is None:
        return None
    from nnsight import TransformersModel

    model = TransformersModel(subject.twin(), tokenizer=subject.loaded.tokenizer)

    def run() -> Tensor:
        with model.generate(**subject.arguments) as tracer:
            for _ in tracer.iter[: subject.tokens]:
                for layer in model.model.layers:
                    if layer.output.norm() > LIMIT:
                        raise Found
            text: Tensor = tracer.result.save()
        return text  # the trace runs where its block ends

    return run


def underflow_overflow(subject: Subject) -> Run:
    """Transformers' own check: parameters, inputs and outputs of every module, each looked at for NaN and infinity."""
    model = subject.twin()
    DebugUnderflowOverflow(model)
    return lambda: subject.generated_by(model)


def finite_hooks(subject: Subject) -> Run:
    """A forward hook on every module without children that reads whether its output is finite."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        for value in _tensors(output):
            if not torch.isfinite(value).all():
                raise Found

    model = subject.twin()
    for leaf in _leaves(model):
        leaf.register_forward_hook(hook)
    return lambda: subject.generated_by(model)


def deferred_finite_hooks(subject: Subject) -> Run:
    """The same into a flag that is read once a step."""
    flag = torch.zeros((), dtype=torch.bool)

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        for value in _tensors(output):
            flag.logical_or_(torch.isfinite(value).all().logical_not_())

    def read(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if flag:
            raise Found

    model = subject.twin()
    for leaf in _leaves(model):
        leaf.register_forward_hook(hook)
    model.register_forward_hook(read)
    return lambda: subject.generated_by(model)


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    return list(model.model.layers)


def _leaves(model: PreTrainedModel) -> list[nn.Module]:
    return [module for module in model.modules() if not any(True for _ in module.children())]


def _tensors(output: Any) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else output
