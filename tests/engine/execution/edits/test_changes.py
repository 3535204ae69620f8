"""Every change against the same worked out in float64; all that is not selected stays to the last bit as it was."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dap_server.engine.execution.edits.changes import Change, Moment
from dap_server.engine.execution.edits.selection import CannotEdit, Selection, StepPositions

FLOATS = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
STEP = StepPositions(2, 0, 5)
SELECTIONS = [
    Selection(),
    Selection(positions=(-1,)),
    Selection(sequences=(1,), positions=(0, 3)),
    Selection(index=(0, -1)),
    Selection(index=(slice(None), slice(1, 3))),
]
VECTOR = torch.linspace(-1, 2, 8, dtype=torch.float64)
BANK = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

CHANGES: list[tuple[Change, Callable[[np.ndarray], np.ndarray]]] = [
    (Change("set", number=2.5), lambda x: np.full_like(x, 2.5)),
    (Change("set", tensor=VECTOR), lambda x: np.broadcast_to(VECTOR.numpy(), x.shape)),
    (Change("zero"), np.zeros_like),
    (Change("mean", tensor=BANK), lambda x: np.broadcast_to(BANK.numpy().mean(0), x.shape)),
    (Change("mean"), lambda x: np.broadcast_to(x.reshape(-1, 8).mean(0), x.shape)),
    (Change("scale", -1.5), lambda x: x * -1.5),
    (Change("clamp", low=-0.25, high=0.5), lambda x: np.clip(x, -0.25, 0.5)),
    (Change("clamp", high=0.5), lambda x: np.minimum(x, 0.5)),
    (Change("steer", -2.0, tensor=VECTOR), lambda x: x - 2 * VECTOR.numpy()),
    (Change("projectOut", tensor=VECTOR), lambda x: _without(x, VECTOR.numpy())),
    (Change("patch", tensor=VECTOR), lambda x: np.broadcast_to(VECTOR.numpy(), x.shape)),
]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=lambda part: getattr(part, "kind", "") or "")
def test_a_change_is_what_float64_says(
    change: Change, expected: Callable[[np.ndarray], np.ndarray], selection: Selection, dtype: torch.dtype
) -> None:
    value, index = _value(dtype), selection.of((2, 5, 8), STEP)
    assert index is not None
    before = value.clone()
    after = change.applied(value, index)
    assert torch.equal(value, before)  # what is edited stays as it is
    assert (after.shape, after.dtype, after.device) == (value.shape, dtype, value.device)
    exact = torch.from_numpy(expected(value.double()[index].numpy()).copy())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(after[index].double(), exact, rtol=2 * eps, atol=8 * max(eps, 1e-7))
    _expect_untouched(value, after, index)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_noise_has_its_spread_and_is_the_same_again(dtype: torch.dtype) -> None:
    value, everything = torch.zeros(2, 500, 64, dtype=dtype), (...,)
    noise = Change("noise", 0.5, seed=3).applied(value, everything, Moment(1, "model.layers.0"))
    assert noise.float().std().item() == pytest.approx(0.5, rel=0.02)
    assert noise.float().mean().item() == pytest.approx(0.0, abs=0.01)
    again = Change("noise", 0.5, seed=3).applied(value, everything, Moment(1, "model.layers.0"))
    assert torch.equal(noise, again)
    for other in (Moment(2, "model.layers.0"), Moment(1, "model.layers.1")):
        assert not torch.equal(noise, Change("noise", 0.5, seed=3).applied(value, everything, other))
    assert not torch.equal(noise, Change("noise", 0.5, seed=4).applied(value, everything, Moment(1, "model.layers.0")))


def test_noise_leaves_the_random_state_of_the_run_alone() -> None:
    before = torch.random.get_rng_state()
    Change("noise", 1.0).applied(_value(torch.float32), (...,))
    Change("resample", tensor=BANK).applied(_value(torch.float32), (...,))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_resampling_puts_whole_vectors_of_the_bank() -> None:
    value = torch.zeros(2, 300, 8)
    drawn = Change("resample", tensor=BANK, seed=1).applied(value, (...,))
    rows = (drawn.reshape(-1, 1, 8) == BANK.float()).all(-1)
    assert rows.any(1).all()
    assert rows.sum(0).min() > 50  # every one of the 6 is drawn, about as often
    own = Change("resample").applied(_value(torch.float32), (...,))
    assert (own.reshape(-1, 1, 8) == _value(torch.float32).reshape(-1, 8)).all(-1).any(1).all()


def test_a_skipped_module_passes_on_what_it_was_given() -> None:
    value, given = _value(torch.float32), _value(torch.float32) + 1
    at = Selection(positions=(2,)).of((2, 5, 8), STEP)
    assert at is not None
    after = Change("skip").applied(value, at, Moment(given=given))
    assert torch.equal(after[:, 2], given[:, 2])
    _expect_untouched(value, after, at)
    with pytest.raises(CannotEdit, match="nothing of the shape of this value went in that"):
        Change("skip").applied(value, at, Moment(given=given[:, :3]))


def test_the_direction_is_gone_whatever_its_length() -> None:
    value = _value(torch.float32)
    for direction in (VECTOR, VECTOR * 1e-3, VECTOR.bfloat16()):
        after = Change("projectOut", tensor=direction).applied(value, (...,))
        assert (after.double() @ direction.double() / direction.double().norm()).abs().max() < 1e-5


def test_nan_and_infinities_elsewhere_stay_as_they_are() -> None:
    value = _value(torch.float32)
    value[0, 0, 0], value[1, 2, 3] = math.nan, math.inf
    index = Selection(positions=(4,)).of((2, 5, 8), STEP)
    assert index is not None
    after = Change("scale", 2.0).applied(value, index)
    assert torch.equal(after[:, :4].view(torch.int32), value[:, :4].view(torch.int32))


def test_gradients_go_through_a_change() -> None:
    value = _value(torch.float64).requires_grad_()
    index = Selection(positions=(1,)).of((2, 5, 8), STEP)
    assert index is not None
    (gradient,) = torch.autograd.grad(Change("scale", 3.0).applied(value, index).sum(), value)
    expected = torch.ones(2, 5, 8, dtype=torch.float64)
    expected[:, 1] = 3
    assert torch.equal(gradient, expected)


def test_tokens_are_forced_banned_and_biased() -> None:
    chosen = torch.tensor([5, 6])
    index = Selection(sequences=(1,)).of((2,), StepPositions(2, 7, 1))
    assert index is not None
    assert Change("force", tokens=(9,)).applied(chosen, index).tolist() == [5, 9]
    logits = _value(torch.float32)[:, 0]
    banned = Change("ban", tokens=(0, 7)).applied(logits, (...,))
    assert banned[:, [0, 7]].eq(-math.inf).all()
    assert torch.equal(banned[:, 1:7], logits[:, 1:7])
    biased = Change("bias", 1.5, tokens=(3,)).applied(logits, (0,))
    assert biased[0, 3].item() == pytest.approx(logits[0, 3].item() + 1.5)
    assert torch.equal(biased[1], logits[1])


@pytest.mark.parametrize(
    ("change", "dtype", "text"),
    [
        (
            Change("set", tensor=torch.zeros(3)),
            torch.float32,
            r"the value has shape \(3\), which does not fit the 80 elements",
        ),
        (Change("set", number=1e6), torch.float16, "1e\\+06 is too large for float16, which goes up to 65504"),
        (Change("set", tensor=torch.tensor([1e39], dtype=torch.float64)), torch.float32, "too large for float32"),
        (Change("set", number=2.5), torch.int64, "2.5 is no int64"),
        (Change("set", number=300.0), torch.uint8, "300 is no uint8"),
        (Change("set", tensor=torch.tensor(1j)), torch.float32, "the value is complex"),
        (Change("noise", 0.1), torch.int64, "'noise' is for floating-point numbers, and these are int64"),
        (Change("steer", tensor=torch.zeros(3)), torch.float32, r"the vector has shape \(3\)"),
        (
            Change("projectOut", tensor=torch.ones(3)),
            torch.float32,
            r"a direction of 3 numbers does not fit elements of shape \(2, 5, 8\)",
        ),
        (Change("mean", tensor=torch.zeros(4, 3)), torch.float32, r"vectors of shape \(4, 3\) do not fit"),
        (Change("ban", tokens=(8,)), torch.float32, "there is no token 8 among 8 logits"),
    ],
    ids=lambda part: getattr(part, "kind", str(part)),
)
def test_what_does_not_fit_is_refused(change: Change, dtype: torch.dtype, text: str) -> None:
    with pytest.raises(CannotEdit, match=text):
        change.applied(_value(dtype), (...,))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Change("noise", -1.0), "a number from 0 on"),
        (lambda: Change("noise", math.nan), "a number from 0 on"),
        (lambda: Change("clamp"), "needs a lower or an upper bound"),
        (lambda: Change("clamp", low=2.0, high=1.0), "the lower bound 2 is above the upper one 1"),
        (lambda: Change("clamp", low=math.nan), "a bound is a number"),
        (lambda: Change("projectOut", tensor=torch.zeros(8)), "not all 0"),
    ],
)
def test_a_change_that_means_nothing_is_refused_when_it_is_made(make: Callable[[], Change], text: str) -> None:
    with pytest.raises(CannotEdit, match=text):
        make()


def test_whole_numbers_go_into_integers_and_any_number_into_floats() -> None:
    assert Change("set", number=7.0).applied(torch.zeros(3, dtype=torch.int64), (1,)).tolist() == [0, 7, 0]
    assert Change("set", tensor=torch.tensor(True)).applied(torch.zeros(2), (0,)).tolist() == [1.0, 0.0]
    assert math.isinf(Change("set", number=math.inf).applied(torch.zeros(2, dtype=torch.float16), (0,))[0].item())


def _value(dtype: torch.dtype) -> Tensor:
    value = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return value.to(dtype)


def _without(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(x - (x @ v)[..., None] * v / (v @ v))


def _expect_untouched(value: Tensor, after: Tensor, index: tuple[object, ...]) -> None:
    selected = torch.zeros(value.shape, dtype=torch.bool)
    selected[index] = True  # type: ignore[index]
    assert torch.equal(after[~selected], value[~selected])
