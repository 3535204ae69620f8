"""Own messages about gradients."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dap_server.protocol.llm.tokens import Token
from dap_server.protocol.messages import Struct


class GradientObjective(Struct):
    """What is differentiated."""

    kind: Literal["logit", "logprob", "loss"] = "logit"
    """`loss`: the mean cross entropy of every token of the text, given those before it."""
    token: int | str | None = None
    """An id, or a text, quoted or not; else that of the frame's step, the likeliest while none is chosen."""
    position: int | None = None
    """In the forward that is run again, whose logits are meant; the last one by default."""


class GradientsArguments(Struct):
    """`llm/gradients`: of one number, with respect to the tensors of a module."""

    frame_id: int
    of: GradientObjective = msgspec.field(default_factory=GradientObjective)
    path: str | None = None
    """Of the module; the frame's own by default."""
    with_respect_to: Annotated[list[Literal["inputs", "output", "parameters"]], msgspec.Meta(min_length=1)] = (
        msgspec.field(default_factory=lambda: ["inputs", "output"])
    )


class GradientRow(Struct):
    """The gradient with respect to one tensor, of the same shape."""

    name: str
    shape: list[int]
    dtype: str
    variables_reference: int
    """Opens like a tensor; 0 where there is no gradient."""
    norm: float | None = None
    """Euclidean; missing where nothing leads from the tensor to the number."""


class GradientsResponseBody(Struct):
    recomputed: bool
    """By one forward over the whole text, rather than by the step as it was."""
    gradients: list[GradientRow]
    value: float | None = None
    """Of what was differentiated; missing, as every number here, where it is not finite."""
    token: Token | None = None
    """Whose logit or log-probability it is; missing for the loss."""
    losses: list[float | None] | None = None
    """For the loss: of every token but the first, in nats."""


class SaliencyArguments(Struct):
    """`llm/saliency`: how much every token bears on what the model says next."""

    frame_id: int
    of: GradientObjective = msgspec.field(default_factory=GradientObjective)


class SaliencyToken(Struct):
    """One token of the text before the frame's token."""

    position: int
    score: float | None = None
    """Gradient times input, summed over the width of the embedding."""
    norm: float | None = None
    """Euclidean, of the gradient with respect to the embedding."""
    id: int | None = None
    text: str | None = None
    encoded: bool = False
    """Whether an encoder read it; without an `id` it is a position of the encoder's output."""


class SaliencyResponseBody(Struct):
    recomputed: bool
    tokens: list[SaliencyToken]
    value: float | None = None
    token: Token | None = None
