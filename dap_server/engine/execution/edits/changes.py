"""What an edit makes of the elements that it selects: pure functions of them, with shape, dtype and device kept.

Numbers of 16 bits are worked on in 32 and rounded once. What is drawn at random depends on the seed, the step and the
name of the place alone: it is the same in every replay, on every device, and leaves the random state of the run alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from dap_server.engine.execution.edits.selection import CannotEdit, Index
from dap_server.protocol.errors import did_you_mean

Kind = Literal[
    "set",
    "zero",
    "mean",
    "resample",
    "noise",
    "scale",
    "clamp",
    "steer",
    "projectOut",
    "skip",
    "freeze",
    "patch",
    "force",
    "ban",
    "bias",
]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Moment:
    """Where a change takes place.

    Attributes:
        name: of the place, a module path for instance: what is drawn at random differs from one to the next.
        given: the value of the same shape that went into what gave this one, where there is one.
    """

    step: int = 0
    name: str = ""
    given: Tensor | None = None


@dataclass(frozen=True)
class Source:
    """Where the values of a patch are from; what is missing is as in the target.

    Attributes:
        branch: its id.
    """

    prompt: str | None = None
    branch: int | None = None
    path: str | None = None
    positions: tuple[int, ...] | None = None
    step: int | None = None

    def __str__(self) -> str:
        """`'The capital of Japan is', position 4`."""
        positions = self.positions or ()
        parts = [
            None if self.prompt is None else repr(self.prompt),
            None if self.branch is None else f"branch {self.branch}",
            self.path,
            None if self.step is None else f"step {self.step}",
            f"position{'s' if len(positions) > 1 else ''} {', '.join(map(str, positions))}" if positions else None,
        ]
        return ", ".join(part for part in parts if part is not None) or "elsewhere"


@dataclass(frozen=True, eq=False)
class Change:
    """A change as data. Two of the same words are two changes.

    Attributes:
        kind: `set`: a number, a tensor that fits by broadcasting, or of a prompt a text. `zero`. `mean` of the vectors
            (N, D) of a tensor, such as the value at all positions of a prompt, or of the elements' own without.
            `resample`: each vector becomes one of these, drawn at random. `noise`: normal, with the number as its
            standard deviation, is added. `scale`: times the number. `clamp`: not below `low`, not above `high`; NaN
            stays. `steer`: the tensor (D,), times the number if there is one, is added. `projectOut`: what lies along
            the tensor (D,), of every vector x: x - (x · v) v / (v · v). `skip`: what went in is passed on. `patch`,
            `freeze`: the tensor, from somewhere else, or as it was. `force`: the token is this one. `ban`: the logits
            (…, V) of the tokens are -inf. `bias`: the number is added to them.
        source: where the tensor is from, or is to be taken from while there is none yet.

    Raises:
        CannotEdit: what the kind needs is missing, or makes no sense.
    """

    kind: Kind
    number: float | None = None
    low: float | None = None
    high: float | None = None
    seed: int = 0
    tokens: tuple[int, ...] = ()
    tensor: Tensor | None = None
    source: Source | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CannotEdit(f"there is no change '{self.kind}'{did_you_mean(self.kind, KINDS)}")
        for number in (self.number, self.low, self.high):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise CannotEdit(f"{number!r} is no number")
        if self.kind in ("noise", "scale", "bias") and self.number is None:
            raise CannotEdit(f"'{self.kind}' needs a number")
        if self.kind == "set" and sum(x is not None for x in (self.number, self.tensor, self.text)) != 1:
            raise CannotEdit("'set' needs a number or a tensor, of a prompt a text")
        if self.kind in ("steer", "projectOut", "patch", "freeze") and self.tensor is None and self.source is None:
            raise CannotEdit(f"'{self.kind}' needs a tensor")
        if self.kind in ("force", "ban", "bias") and not self.tokens:
            raise CannotEdit(f"'{self.kind}' needs a token")
        if self.kind == "force" and len(self.tokens) > 1:
            raise CannotEdit("one token is forced in a step: make an edit for each of them")
        if self.kind == "noise" and not 0 <= (self.number or 0) < math.inf:
            raise CannotEdit(f"the standard deviation of noise is a number from 0 on, not {self.number}")
        if self.kind == "clamp":
            _require_bounds(self.low, self.high)
        if self.kind == "projectOut":
            _require_direction(self.tensor)

    def applied(self, value: Tensor, index: Index, moment: Moment | None = None) -> Tensor:
        """A copy of a value with other elements where `index` says; all others to the last bit as they were.

        Raises:
            CannotEdit: the change does not fit the elements.
        """
        moment = moment or Moment()
        if self.kind == "skip":
            if moment.given is None or moment.given.shape != value.shape:
                raise CannotEdit("nothing of the shape of this value went in that could be passed on instead")
            moment = replace(moment, given=moment.given[index])
        new = _MAKES[self.kind](self, value[index], moment)
        copy = value.clone()
        copy[index] = new
        return copy


def _require_bounds(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise CannotEdit("'clamp' needs a lower or an upper bound")
    if any(bound is not None and math.isnan(bound) for bound in (low, high)):
        raise CannotEdit("a bound is a number")
    if low is not None and high is not None and low > high:
        raise CannotEdit(f"the lower bound {low:g} is above the upper one {high:g}")


def _require_direction(vector: Tensor | None) -> None:
    if vector is None or vector.dim() != 1 or not torch.isfinite(vector).all() or not vector.any():
        raise CannotEdit("a direction is a vector (D,) of finite numbers that are not all 0")


def _set(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return fitting(_number(change) if change.tensor is None else change.tensor, part, "the value")


def _zero(_change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return torch.zeros_like(part)


def _mean(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return _wide(_bank(change, part)).mean(0).to(part.dtype).expand(part.shape)


def _resample(change: Change, part: Tensor, moment: Moment) -> Tensor:
    bank = _bank(change, part)
    drawn = torch.randint(len(bank), part.shape[:-1], generator=_generator(change.seed, moment))
    return bank[drawn.to(bank.device)].to(part.dtype)


def _noise(change: Change, part: Tensor, moment: Moment) -> Tensor:
    wide = _wide(_floating(change, part))
    noise = torch.randn(part.shape, generator=_generator(change.seed, moment), dtype=torch.float32)
    return (wide + _number(change) * noise.to(wide)).to(part.dtype)


def _scale(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return (_wide(_floating(change, part)) * _number(change)).to(part.dtype)


def _clamp(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return _floating(change, part).clamp(change.low, change.high)


def _steer(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    wide = _wide(_floating(change, part))
    vector = _shaped(_tensor(change), part, "the vector").to(wide)
    return (wide + (1.0 if change.number is None else change.number) * vector).to(part.dtype)


def _project_out(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    wide, vector = _wide(_floating(change, part)), _tensor(change)
    if not part.dim() or part.shape[-1] != len(vector):
        raise CannotEdit(f"a direction of {len(vector)} numbers does not fit elements of shape {_shape(part)}")
    unit = torch.nn.functional.normalize(vector.to(wide.device, torch.float64), dim=0).to(wide.dtype)
    return (wide - (wide @ unit)[..., None] * unit).to(part.dtype)


def _skip(_change: Change, _part: Tensor, moment: Moment) -> Tensor:
    assert moment.given is not None
    return moment.given


def _patch(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return fitting(_tensor(change), part, f"the {'patch' if change.kind == 'patch' else 'frozen value'}")


def _force(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    return fitting(change.tokens[0], part, "the token")


def _bias(change: Change, part: Tensor, _moment: Moment) -> Tensor:
    size = part.shape[-1] if part.dim() else 0
    if missing := [token for token in change.tokens if not 0 <= token < size]:
        raise CannotEdit(f"there is no token {missing[0]} among {size} logits")
    copy, tokens = part.clone(), list(dict.fromkeys(change.tokens))
    if change.kind == "ban":
        copy[..., tokens] = -math.inf
    else:
        copy[..., tokens] += _number(change)
    return copy


_MAKES: dict[str, Callable[[Change, Tensor, Moment], Tensor]] = {
    "set": _set,
    "zero": _zero,
    "mean": _mean,
    "resample": _resample,
    "noise": _noise,
    "scale": _scale,
    "clamp": _clamp,
    "steer": _steer,
    "projectOut": _project_out,
    "skip": _skip,
    "freeze": _patch,
    "patch": _patch,
    "force": _force,
    "ban": _bias,
    "bias": _bias,
}


def fitting(values: float | Tensor, part: Tensor, what: str) -> Tensor:
    """Values in the dtype of the elements they take the place of, and broadcast to their shape.

    Raises:
        CannotEdit: another shape, or numbers that this dtype cannot hold: too large, a fraction among integers.
    """
    given = torch.as_tensor(values, dtype=torch.float64) if isinstance(values, float) else torch.as_tensor(values)
    if given.is_complex() and not part.is_complex():
        raise CannotEdit(f"{what} is complex, and the elements are {_dtype(part)}")
    given = _shaped(given.detach(), part, what).to(part.device)
    new = given.to(part.dtype)
    if not part.is_floating_point() and not part.is_complex() and not torch.equal(new.to(given.dtype), given):
        wrong = given[new.to(given.dtype) != given].flatten()[0].item()
        raise CannotEdit(f"{wrong:g} is no {_dtype(part)}, which the elements are")
    if (overflowing := torch.isinf(new) & ~torch.isinf(given)).any():
        wrong, largest = given[overflowing].flatten()[0].item(), torch.finfo(part.dtype).max
        raise CannotEdit(f"{wrong:g} is too large for {_dtype(part)}, which goes up to {largest:g}")
    return new


def _shaped(values: Tensor, part: Tensor, what: str) -> Tensor:
    try:
        return values.expand(part.shape)
    except RuntimeError:
        elements = f"the {part.numel():,} elements that are selected, of shape {_shape(part)}"
        raise CannotEdit(f"{what} has shape {_shape(values)}, which does not fit {elements}") from None


def _bank(change: Change, part: Tensor) -> Tensor:
    """(N, D) vectors to take from."""
    values = change.tensor
    if not part.dim():
        raise CannotEdit(f"'{change.kind}' is for vectors, not for a single number")
    _floating(change, part)
    if values is None:
        return part.reshape(-1, part.shape[-1])
    if values.dim() != 2 or not len(values) or values.shape[1] != part.shape[-1]:
        raise CannotEdit(f"vectors of shape {_shape(values)} do not fit elements of shape {_shape(part)}")
    return values.to(part.device)


def _tensor(change: Change) -> Tensor:
    assert change.tensor is not None
    return change.tensor.detach()


def _number(change: Change) -> float:
    assert change.number is not None
    return change.number


def _floating(change: Change, part: Tensor) -> Tensor:
    if not part.is_floating_point():
        raise CannotEdit(f"'{change.kind}' is for floating-point numbers, and these are {_dtype(part)}")
    return part


def _wide(part: Tensor) -> Tensor:
    return part.float() if part.dtype.itemsize < 4 else part


def _generator(seed: int, moment: Moment) -> torch.Generator:
    number = zlib.crc32(f"{seed} {moment.step} {moment.name}".encode())
    return torch.Generator().manual_seed(number)


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shape(value: Tensor) -> str:
    return f"({', '.join(map(str, value.shape))})" if value.dim() else "of one number"
