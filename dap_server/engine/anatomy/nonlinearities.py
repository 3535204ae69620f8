"""Which modules are activation functions, and where the bounded ones end."""

from __future__ import annotations

import re
from typing import NamedTuple

from torch import nn
from torch.nn.modules import activation
from transformers.activations import ACT2CLS, ClippedGELUActivation, LinearActivation

_NOT_ELEMENTWISE = {"MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
_OF_TORCH = {getattr(activation, name) for name in activation.__all__ if name not in _NOT_ELEMENTWISE}
_OF_TRANSFORMERS = {kind[0] if isinstance(kind, tuple) else kind for kind in ACT2CLS.values()}
_KNOWN = tuple((_OF_TORCH | _OF_TRANSFORMERS) - {LinearActivation})
_NAMED_SO = re.compile(r"(gelu|relu|silu|swish|mish|tanh|sigmoid|softplus|activation)\d?$", re.IGNORECASE)


class Ends(NamedTuple):
    """The values that a bounded function comes close to and never passes; None on a side where it means something else.

    A lower end of 0 beside a function that is linear above it, as of ReLU6, is no end: nothing is what it gives there.
    """

    low: float | None
    high: float | None


def is_nonlinearity(module: nn.Module) -> bool:
    """Whether a module is an activation function: one of torch's or transformers', or called so by its class.

    Functions that a forward calls without a module are not found.
    """
    if isinstance(module, _KNOWN):
        return True
    is_leaf = not any(module.children()) and not isinstance(module, LinearActivation)
    return is_leaf and _NAMED_SO.search(type(module).__name__) is not None


def ends_of(module: nn.Module) -> Ends:
    if isinstance(module, nn.Tanh | nn.Softsign):
        return Ends(-1.0, 1.0)
    if isinstance(module, nn.Sigmoid | nn.Hardsigmoid):
        return Ends(0.0, 1.0)
    if isinstance(module, nn.Hardtanh):  # ReLU6 too
        return Ends(module.min_val or None, module.max_val)
    if isinstance(module, ClippedGELUActivation):
        return Ends(module.min, module.max)
    return Ends(None, None)
