"""Models that are no transformers, or not of transformers: their layers are found, and a bare call is debugged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dap_server.engine.anatomy.modules import Anatomy
from tests.architectures.session import Session

WIDTH = 16


class NumberedMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.drop1, self.drop2 = nn.Dropout(0.5), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(torch.relu(self.fc1(x)))
        out: Tensor = self.fc3(self.drop2(torch.relu(self.fc2(x))))
        return out


class Recurrent(nn.Module):
    """Two cells, called once for every position."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList(nn.GRUCell(WIDTH, WIDTH) for _ in range(2))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        states = [x.new_zeros(x.shape[0], WIDTH) for _ in self.cells]
        for t in range(x.shape[1]):
            below = x[:, t]
            for i, cell in enumerate(self.cells):
                below = states[i] = cell(below, states[i])
        out: Tensor = self.head(states[-1])
        return out


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.norm(self.conv(x)))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.block1, self.block2, self.block3 = Residual(8), Residual(8), Residual(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.stem(x))))
        out: Tensor = self.head(x.mean(dim=(2, 3)))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, 4, WIDTH // 4)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        summed: Tensor = x + self.mlp(self.norm2(x))
        return summed


class HandWritten(nn.Module):
    """A language model as people write them; a plain list of layers, and a dictionary for a configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.config = {"layers": 3}
        self.embed = nn.Embedding(50, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(3)))
        self.head = nn.Linear(WIDTH, 50)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.embed(x)))
        return logits


PERCEPTRON = nn.Sequential(
    nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
)
MODELS: dict[str, tuple[nn.Module, Tensor, list[str]]] = {
    "perceptron": (PERCEPTRON, torch.ones(2, WIDTH), ["0", "2", "4"]),
    "perceptron of attributes": (NumberedMLP(), torch.ones(2, WIDTH), ["fc1", "fc2", "fc3"]),
    "recurrent": (Recurrent(), torch.ones(2, 4, WIDTH), ["cells.0", "cells.1"]),
    "convolutional": (Convolutional(), torch.ones(2, 3, 8, 8), ["block1", "block2", "block3"]),
    "hand-written transformer": (HandWritten(), torch.arange(8)[None], ["blocks.0", "blocks.1", "blocks.2"]),
    "torch's own encoder": (
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True), 2, enable_nested_tensor=False
        ),
        torch.ones(1, 4, WIDTH),
        ["layers.0", "layers.1"],
    ),
    "nothing that repeats": (nn.Linear(WIDTH, 2), torch.ones(1, WIDTH), []),
}


class BareSession(Session):
    """On `model(x)`."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__(model, {"x": x}, generates=False)

    @torch.no_grad()
    def _call(self) -> Any:
        return self.model(self.inputs["x"].clone())


@pytest.fixture(autouse=True)
def _no_fast_path() -> Iterator[None]:
    """Torch's own encoder calls no modules inside a layer while none of them has a hook."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize(("model", "x", "layers"), MODELS.values(), ids=MODELS.keys())
def test_a_bare_call_is_stopped_stepped_looked_at_and_travelled(model: nn.Module, x: Tensor, layers: list[str]) -> None:
    session = BareSession(model.eval(), x)
    assert session.anatomy.layer_paths == layers
    assert session.is_alike
    assert session.is_finished
    assert session.found.unreadable == []
    if layers:
        assert session.found.replayed == len(session.straight.modules_of(0))


def test_blocks_of_a_block_are_no_layers() -> None:
    session = BareSession(
        nn.Sequential(*(nn.Sequential(Residual(3), Residual(3)) for _ in range(2))), torch.ones(1, 3, 4, 4)
    )
    assert session.anatomy.layer_paths == ["0", "1"]
    assert [session.anatomy.layer_of(path) for path in ("0", "1.0.conv", "")] == [0, 1, None]
    assert session.anatomy.earlier_layers("1.0.conv") == ["0"]


def test_lists_of_lists_are_one_stack() -> None:
    stages = nn.ModuleList(nn.ModuleList(Residual(3) for _ in range(count)) for count in (1, 2))
    assert Anatomy(nn.ModuleDict({"stages": stages})).layer_paths == ["stages.0.0", "stages.1.0", "stages.1.1"]
