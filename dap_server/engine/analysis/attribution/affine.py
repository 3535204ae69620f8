"""What stands between the residual stream and a logit, as maps y = A x + b at one position.

A normalisation is such a map once its statistics are held at what they were. Nothing is known by name: each form is
tried on what the module was given and what it made of it, and counts only if it gives the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.attribution.recording import Call, multiple_of, tolerance

PROBE = 0.37
"""Of the vector that a normalisation's weights are read off with: no element of it is zero, or its mean."""

MOST_WEIGHTS = 4
"""Of a normalisation, for each element. What has more is too large to be copied, and none."""

CHUNK = 1024
"""Columns of a matrix that are in float64 at a time."""


@dataclass(frozen=True)
class Affine:
    """One map, seen from its output: what is linear in y is linear in x.

    Attributes:
        pull: the row (W_out,) that reads y, to the row (W_in,) that reads x alike; float64.
        bias: (W_out,) in float64, which x has no part in; None without.
        is_linear: a matrix; else a factor or a normalisation, which leave elements where they are.
    """

    path: str
    pull: Callable[[Tensor], Tensor]
    bias: Tensor | None = None
    is_linear: bool = False

    def constant(self, reader: Tensor) -> float:
        """What the bias gives to what `reader` (W_out,) reads."""
        return 0.0 if self.bias is None else float(self.bias @ reader)


def recognised(call: Call) -> Affine | None:
    """A call that did a factor, a normalisation or a matrix to the first row that it was given."""
    if not call.inputs or call.output is None:
        return None
    x, y = call.inputs[0], call.output
    if (factor := multiple_of(y, x)) is not None:
        return scaled(call.path, factor)
    if x.shape == y.shape and (norm := _normalisation(call.path, call.module, x, y)) is not None:
        return norm
    return _matrix(call.path, call.module, x, y)


def scaled(path: str, factor: float) -> Affine:
    return Affine(path, lambda reader: factor * reader)


def _normalisation(path: str, module: nn.Module, x: Tensor, y: Tensor) -> Affine | None:
    """It made y = w (x - m) s + b, with or without the mean m; s is what it was."""
    if sum(p.numel() for p in module.parameters()) > MOST_WEIGHTS * x.shape[0]:
        return None
    try:
        weight, weight_centred, bias = _weights(module, x)
    except Exception:  # what is no normalisation may take no such vector
        return None
    given, made = x.double(), y.double()
    for centred, w in ((False, weight), (True, weight_centred)):
        unscaled = w * (given - given.mean() if centred else given)
        square = float(unscaled @ unscaled)
        if square == 0.0:
            continue
        s = float((made - bias) @ unscaled) / square
        error = (made - bias - s * unscaled).norm()
        if float(error) <= tolerance(y) * float(made.norm()):
            return Affine(path, _reading(s * w, centred), bias if bool(bias.any()) else None)
    return None


def _reading(weight: Tensor, centred: bool) -> Callable[[Tensor], Tensor]:
    def pull(reader: Tensor) -> Tensor:
        read = weight * reader
        return read - read.mean() if centred else read

    return pull


@torch.no_grad()
def _weights(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The weights that a normalisation would have to have, without and with a mean, and its bias; float64.

    Read off what it makes of zeros and of a vector that is known. A copy of it computes in float64: it is small.
    """
    probe = torch.ones(x.shape, dtype=torch.float64, device=x.device)
    probe[1::2] = -1.0
    probe[-1] = PROBE
    own = copy.deepcopy(module).double()
    bias = own.forward(torch.zeros_like(probe)[None, None]).double().flatten()
    made = own.forward((probe * 1e3)[None, None]).double().flatten() - bias
    centred = probe - probe.mean()
    return made / (probe / probe.square().mean().sqrt()), made / (centred / centred.square().mean().sqrt()), bias


def _matrix(path: str, module: nn.Module, x: Tensor, y: Tensor) -> Affine | None:
    found = matrix_of(module, x, y)
    if found is None:
        return None
    weight, bias = found

    def pull(reader: Tensor) -> Tensor:
        return torch.cat([reader @ columns.double() for columns in torch.split(weight, CHUNK, dim=1)])

    return Affine(path, pull, None if bias is None else bias.double(), is_linear=True)


@torch.no_grad()
def matrix_of(
    module: nn.Module, x: Tensor, y: Tensor, rows: Tensor | None = None
) -> tuple[Tensor, Tensor | None] | None:
    """A module's weight (W_out, W_in) and bias (W_out,), if these make y of x; `rows`: only these are looked at."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or not weight.is_floating_point():
        return None
    bias = bias if isinstance(bias, Tensor) else None
    for matrix in (weight, weight.T):
        if matrix.shape == (y.shape[0], x.shape[0]) and makes(matrix, bias, x, y, rows):
            return matrix.detach(), None if bias is None else bias.detach()
    return None


def makes(weight: Tensor, bias: Tensor | None, x: Tensor, y: Tensor, rows: Tensor | None = None) -> bool:
    """Whether y (W_out,) is what weight (W_out, W_in) and bias make of x, up to rounding."""
    chosen = weight if rows is None else weight[rows]
    made = chosen.double() @ x.double()
    if bias is not None:
        made += (bias if rows is None else bias[rows]).double()
    actual = (y if rows is None else y[rows]).double()
    size = float((chosen.double().abs() @ x.double().abs()).norm())  # before it cancels
    return float((made - actual).norm()) <= tolerance(y) * size
