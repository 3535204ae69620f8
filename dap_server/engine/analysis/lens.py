"""The logit lens: what the model would say if it stopped after a layer.

The residual stream after layer k takes the place of the last layer's output, and the model itself goes on from there:
its own final norm, head, scaling and capping, whatever they are. Layers before it are passed over, so one reading costs
the embedding and the head. Logits of the last layer's row are bit for bit those of the step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.probes import CaptureProbe, Enough


@dataclass(frozen=True)
class Reading:
    """What one layer would say.

    Attributes:
        path: of the layer; empty for the residual stream before the first one.
        logits: (B, V) in float32, of the last position.
        norm: (B,) Euclidean norm of the residual stream at the last position, after this layer.
        update: (B,) norm of what the layer added to it.
        cosine: (B,) with the residual stream after the last layer.
    """

    path: str
    logits: Tensor
    norm: Tensor
    update: Tensor
    cosine: Tensor


@torch.no_grad()
def read(tape: Tape, step: int, anatomy: Anatomy) -> list[Reading]:
    """A reading before the first layer and after every one of the stack that makes the logits."""
    layers, before, outputs = _residuals(tape, step, anatomy)
    if not layers:
        return []
    states = [before, *(hidden_of(output) for output in outputs)]  # each (B, T, D)
    last = [state[:, -1].double() for state in states]  # each (B, D)
    readings = []
    for i, state in enumerate(states):
        with _passed_over([anatomy.modules[path] for path in layers], outputs, state):
            selection = tape.replay(step)
        assert selection is not None
        readings.append(
            Reading(
                path=layers[i - 1] if i else "",
                logits=selection.logits,
                norm=last[i].norm(dim=-1),
                update=(last[i] - last[max(i - 1, 0)]).norm(dim=-1),
                cosine=torch.cosine_similarity(last[i], last[-1], dim=-1),
            )
        )
    return readings


def hidden_of(output: Any) -> Tensor:
    """The residual stream in what a layer returns."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def _residuals(tape: Tape, step: int, anatomy: Anatomy) -> tuple[list[str], Tensor, list[Any]]:
    """The layers that ran in the step, of the last stack that did; what went into the first, and all outputs."""
    probe = CaptureProbe({(path, 0) for path in anatomy.layer_paths})
    try:
        tape.replay(step, probe)
    except Enough:
        pass
    called = [path for path in anatomy.layer_paths if (path, 0) in probe.found]
    if not called:
        return [], torch.empty(0), []
    stack = called[-1].rpartition(".")[0]
    layers = [path for path in called if path.rpartition(".")[0] == stack]
    calls = [probe.found[path, 0] for path in layers]
    first = calls[0].args[0] if calls[0].args else calls[0].kwargs["hidden_states"]
    return layers, first, [call.output for call in calls]


@contextmanager
def _passed_over(layers: list[nn.Module], outputs: list[Any], state: Tensor) -> Iterator[None]:
    """Layers return at once what they returned before, and the last one the given state (B, T, D).

    Their classes are patched, not they: attributes of modules are part of what a replay puts back.
    """
    final = (state, *outputs[-1][1:]) if isinstance(outputs[-1], tuple) else state
    results = dict(zip(layers, [*outputs[:-1], final], strict=True))
    originals = {type(layer): type(layer).forward for layer in layers}
    for kind, original in originals.items():
        type.__setattr__(kind, "forward", _returning(results, original))
    try:
        yield
    finally:
        for kind, original in originals.items():
            type.__setattr__(kind, "forward", original)


def _returning(results: dict[nn.Module, Any], original: Any) -> Any:
    @functools.wraps(original)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return results[self] if self in results else original(self, *args, **kwargs)

    return forward
