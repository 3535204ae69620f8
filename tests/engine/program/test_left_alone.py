"""Calls of models that are left as they are: of tensors that stand for others, and of what is no Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, hessian, jvp, vmap

from tests.engine.program.run import debugged

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own jvp uses it, too


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), Part())


X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def of_parameters(network: nn.Module) -> Callable[[Any, Tensor], Tensor]:
    return lambda parameters, x: functional_call(network, parameters, (x,)).sum()


def ensemble(network: nn.Module) -> Tensor:
    stacked = {name: torch.stack([held, held * 2]) for name, held in network.named_parameters()}
    out: Tensor = vmap(of_parameters(network))(stacked, X)
    return out


def per_sample(network: nn.Module) -> Tensor:
    held = dict(network.named_parameters())
    out: Tensor = vmap(grad(of_parameters(network)), (None, 0))(held, X)["0.weight"]
    return out


def faked(network: nn.Module) -> Tensor:
    with FakeTensorMode():
        shape = nn.Sequential(nn.Linear(3, 3), nn.Tanh())(torch.ones(2, 3)).shape
    return torch.zeros(shape)


@pytest.mark.parametrize(
    "transform",
    [
        ensemble,
        per_sample,
        lambda network: hessian(lambda x: network(x).sum())(X),
        lambda network: jvp(network, (X,), (X,))[1],
        faked,
    ],
    ids=["vmap", "vmap of grad", "hessian", "jvp", "fake"],
)
def test_what_is_transformed_gives_what_it_gives_alone(transform: Callable[[nn.Module], Tensor]) -> None:
    network = model()
    alone = transform(network)
    made, stops = debugged(lambda: transform(network), "1.inner", "after:0")
    assert torch.equal(made, alone)
    assert stops == []


def test_a_trace_has_nothing_of_the_debugger_in_it() -> None:
    network = model()

    def trace() -> Any:
        return torch.jit.trace(network, X, check_trace=False)  # type: ignore[no-untyped-call]  # torch's own

    alone = trace()
    made, stops = debugged(trace, "1.inner")
    assert made.code == alone.code
    assert made.get_submodule("1").code == alone.get_submodule("1").code
    assert stops == []


def test_what_torchscript_has_compiled_runs_as_it_is_and_may_be_a_part_of_a_model() -> None:
    whole, mixed = torch.jit.script(model()), nn.Sequential(nn.Linear(3, 3), torch.jit.script(Part()), nn.Tanh())
    assert torch.equal(debugged(lambda: whole(X), "0", "1.inner")[0], whole(X))
    made, stops = debugged(lambda: mixed(X), "0", "1", "1.inner", "2", "nonFinite")
    assert torch.equal(made, mixed(X))
    assert stops == [f"function breakpoint: before {path} in step 0" for path in ("0", "2")]


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_model_of_lazy_modules_is_one_once_it_has_its_weights() -> None:
    def program() -> Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(nn.LazyLinear(3), nn.Dropout(0.5))
        return torch.cat([network(X), network(X)])

    alone = program()
    made, stops = debugged(program, "1")
    assert torch.equal(made, alone)
    assert stops == ["function breakpoint: before 1 in step 0"]
