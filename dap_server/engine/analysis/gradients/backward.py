"""Gradients of one number that the model says: of a token's logit or log-probability, or of the loss of the text.

They are worked out by running the step again with gradients; the number and the tensors are of that replay. Through
the cache no gradient leads back into earlier steps: it is of this step's number with respect to this step's tensors.
The loss needs the logits of the whole text, which one forward over it gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.arguments import bind
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import require_token
from dap_server.engine.execution import memory
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.differentiation import GradientProbe, MutationProbe, Part, Tap
from dap_server.engine.execution.generation import Generation, Tape
from dap_server.engine.execution.probes import Probe
from dap_server.engine.inspection.scopes import text_config
from dap_server.protocol.errors import RequestError

Kind = Literal["logit", "logprob", "loss"]

SAVED_PER_LAYER = 34
"""Numbers of the residual stream's width that a transformer layer keeps for its backward pass, about.

Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models (2022), count 34 bytes in half
precision, masks of dropout included; layers with more than usual need more, so twice that is asked for.
"""


class GradientError(RequestError):
    """There is no such gradient; the text says why."""

    id = 50


@dataclass(frozen=True)
class Objective:
    """What is differentiated.

    Attributes:
        token: id; None for the likeliest. Of a classifier, the label.
        position: of the forward's T; the last one by default.
    """

    kind: Kind = "logit"
    token: int | None = None
    position: int = -1


@dataclass(frozen=True)
class Text:
    """What a gradient is worked out on: a step that runs again, or a whole text in one forward.

    Attributes:
        ids: (1, T) of a whole text; None to run the step itself again.
        encodes: whether the encoder of an encoder–decoder runs again with a whole text.
        sequence: index in the batch of the run.
        tokens: B · T of the forward, for what it needs of memory.
    """

    tape: Tape
    step: int
    sequence: int
    tokens: int
    ids: Tensor | None = None
    encodes: bool = False

    @property
    def batch(self) -> int:
        """Index of the sequence in the batch of the forward."""
        return self.sequence if self.ids is None else 0

    @property
    def is_recomputed(self) -> bool:
        return self.ids is not None

    def run(self, probe: Probe) -> None:
        if self.ids is not None:
            self.tape.forward(self.ids, self.sequence, probe, self.encodes)
        else:
            self.tape.replay(self.step, probe)


@dataclass(frozen=True)
class Gradients:
    """Of one number.

    Attributes:
        value: the number itself.
        token: whose logit it is, or the label; None for the loss.
        tensors: what it was differentiated with respect to, by name; each with its gradient of the same shape, None
            where nothing leads from it to the number.
        given: what the whole model was given by keyword.
        losses: (T - 1,) cross entropy, in nats, of every token but the first; None without the loss.
    """

    value: float
    token: int | None
    tensors: dict[str, tuple[Tensor, Tensor | None]]
    losses: Tensor | None = None
    given: dict[str, Any] = field(default_factory=dict)


def step_of(generation: Generation, step: int, sequence: int) -> Text:
    """A step that runs again as it was."""
    if generation.tape is None:
        raise GradientError("there is nothing to run again here")
    ids = generation.input_ids
    width = 1 if ids is None else generation.prompt_length if step == 0 else 1
    return Text(generation.tape, step, sequence, generation.sequences * width)


def text_of(generation: Generation, step: int, sequence: int, encodes: bool = False) -> Text:
    """The text before a step's token, without padding, in one forward."""
    if generation.tape is None or generation.input_ids is None or not generation.is_own_loop:
        raise GradientError("another loop than greedy search and sampling decodes here: its text is not known")
    ids = generation.input_ids[sequence, : generation.prompt_length + step][positions_of(generation, step, sequence)]
    return Text(generation.tape, step, sequence, ids.shape[0], ids[None], encodes)


def positions_of(generation: Generation, step: int, sequence: int) -> Tensor:
    """(T,) the positions of the text before a step's token that are no padding."""
    ids = generation.input_ids
    assert ids is not None
    used = torch.ones(generation.prompt_length + step, dtype=torch.bool, device=ids.device)
    mask = generation.attention_mask
    if mask is not None and mask.shape[1] >= generation.prompt_length:
        used[: generation.prompt_length] = mask[sequence, : generation.prompt_length].bool()
    return used.nonzero()[:, 0]


def differentiate(
    anatomy: Anatomy,
    text: Text,
    objective: Objective,
    taps: Sequence[Tap] = (),
    parameters: Sequence[nn.Parameter] = (),
    suspended: Activation | None = None,
) -> Gradients:
    """Runs with gradients and differentiates, with respect to tensors of some modules' calls and to parameters.

    Args:
        suspended: the running call that is looked at, or before which.

    Raises:
        GradientError: there is no gradient, with the reason.
        UnknownToken: the objective's token is none.
        NotEnoughMemory: the graph would not fit.
    """
    _require_memory(anatomy, text, taps, parameters)

    try:
        try:
            return _run(anatomy, text, objective, taps, GradientProbe(anatomy.model, taps, parameters, suspended))
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
        for each in taps:  # recurrent models write into their cache
            each.calls.clear()
        return _run(anatomy, text, objective, taps, MutationProbe(anatomy.model, taps, parameters, suspended))
    except RequestError:
        raise
    except Exception as error:
        if memory.explained(error) is not error:
            raise
        raise GradientError(_explain(error)) from error


def _run(anatomy: Anatomy, text: Text, objective: Objective, taps: Sequence[Tap], probe: GradientProbe) -> Gradients:
    found: list[Gradients] = []

    def backward(retain_graph: bool) -> None:
        found[:] = [_backward(anatomy, text, objective, taps, probe, retain_graph)]

    with text.tape.aside(), probe.installed(backward):  # a backward pass runs again what is checkpointed
        text.run(probe)
    return found[0]


def _backward(
    anatomy: Anatomy, text: Text, objective: Objective, taps: Sequence[Tap], probe: GradientProbe, retain_graph: bool
) -> Gradients:
    number, token, losses = _number(_logits(probe.output), text, objective, probe.given)
    tensors = {f"{anatomy.paths[tap.module]} {name}": node for tap in taps for name, node in tap.found.items()}
    names = {id(p): name for name, p in anatomy.model.named_parameters()}
    tensors |= {names.get(id(stand_in), "parameter"): stand_in for stand_in in probe.parameters.values()}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    if not tensors:
        raise GradientError("nothing here has a gradient: no floating point tensor goes in or comes out in this step")
    if not number.requires_grad:
        raise GradientError("nothing leads from here to the logits that can be differentiated")
    gradients = torch.autograd.grad(number, list(tensors.values()), allow_unused=True, retain_graph=retain_graph)
    found: dict[str, tuple[Tensor, Tensor | None]] = {
        n: (t.detach(), g) for (n, t), g in zip(tensors.items(), gradients, strict=True)
    }
    return Gradients(float(number.detach()), token, found, losses, probe.given)


def _logits(output: Any) -> Tensor:
    """(B, T, V), or (B, C) of a classifier."""
    logits = getattr(output, "logits", None)
    if logits is None:
        logits = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.dim() not in (2, 3):
        raise GradientError("the model gives no logits to differentiate")
    return logits


def _number(
    logits: Tensor, text: Text, objective: Objective, given: dict[str, Any]
) -> tuple[Tensor, int | None, Tensor | None]:
    """What is differentiated, of whose logit, and the losses."""
    wide = torch.float64 if logits.dtype is torch.float64 else torch.float32
    if objective.kind == "loss":
        ids = text.ids[0] if text.ids is not None else _ids(given, text.batch)
        losses = _losses(logits[text.batch].to(wide), ids)
        return losses.mean(), None, losses.detach()
    rows = logits[text.batch]
    if rows.dim() == 2:
        if not -rows.shape[0] <= objective.position < rows.shape[0]:
            raise GradientError(f"there is no position {objective.position}: this forward has {rows.shape[0]}")
        rows = rows[objective.position]
    row = rows.to(wide)  # (V,)
    token = int(row.detach().argmax()) if objective.token is None else objective.token
    require_token(token, row.shape[0])
    return (row.log_softmax(-1) if objective.kind == "logprob" else row)[token], token, None


def _ids(given: dict[str, Any], sequence: int) -> Tensor:
    """(T,) what a bare forward was given."""
    ids = given.get("input_ids")
    if not isinstance(ids, Tensor) or ids.dim() != 2:
        raise GradientError("the loss is not known: this forward was given no input_ids")
    return ids[sequence]


def _losses(logits: Tensor, ids: Tensor) -> Tensor:
    """(T - 1,) of logits (T, V) and the ids (T,) that were read."""
    if logits.dim() != 2 or ids.shape[0] < 2:
        raise GradientError("the loss needs a text of two tokens or more, and logits for each")
    return nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")


def tap(anatomy: Anatomy, path: str, *parts: Part, every_call: bool = False) -> Tap:
    """Of a module's call: the one that is looked at, or every one of the step."""
    return Tap(anatomy.modules[path], parts, bind, every_call)


def _require_memory(anatomy: Anatomy, text: Text, taps: Sequence[Tap], parameters: Sequence[nn.Parameter]) -> None:
    """The graph begins at the first tensor that is asked for. On tiny models this is 1.2 to 3.7 times too high."""
    config = text_config(anatomy.model)
    first = next(anatomy.model.parameters(), None)
    width, vocabulary = getattr(config, "hidden_size", 0), getattr(config, "vocab_size", 0)
    if first is None or not isinstance(width, int) or not isinstance(vocabulary, int):
        return
    heads = getattr(config, "num_attention_heads", 0)
    layers = max(len(anatomy.layer_paths) - _first_layer(anatomy, taps, parameters), 1)
    keys = text.tokens if isinstance(heads, int) and getattr(config, "_attn_implementation", "") == "eager" else 0
    numbers = text.tokens * (layers * (SAVED_PER_LAYER * width + 3 * (heads or 0) * keys) + 3 * vocabulary)
    needed = numbers * max(first.element_size(), 2) + sum(p.numel() * p.element_size() for p in parameters)
    what = f"the gradients through {layers} {'layer' if layers == 1 else 'layers'} at {text.tokens:,} positions"
    memory.require(needed, first.device, what, "ask at a layer nearer to the output, or with a shorter text")


def _first_layer(anatomy: Anatomy, taps: Sequence[Tap], parameters: Sequence[nn.Parameter]) -> int:
    """Index of the first layer that is asked about; 0 for what lies in none."""
    wanted = {id(parameter) for parameter in parameters}
    paths = [anatomy.path_of(tap.module) or "" for tap in taps]
    paths += [name for name, parameter in anatomy.model.named_parameters() if id(parameter) in wanted]
    return min((anatomy.layer_of(path) or 0 for path in paths), default=0)


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "not implemented" in text or isinstance(error, NotImplementedError):
        return f"an operation of this model has no backward pass: {text}"
    if "does not require grad" in text:
        return f"nothing leads from here to the logits that can be differentiated: {text}"
    return f"the model cannot be run with gradients: {type(error).__name__}: {text}"


def norm(gradient: Tensor) -> float:
    """Euclidean, in float64 where the device has it."""
    wide = gradient.detach().double() if gradient.device.type != "mps" else gradient.detach().float()
    return float(wide.norm()) if gradient.numel() else math.nan
