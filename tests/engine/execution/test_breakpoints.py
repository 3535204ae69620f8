"""Which modules breakpoints can stand on."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeExperts
from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersExperts

from dap_server.engine.anatomy.modules import is_called


class Halves(nn.ModuleList):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


@pytest.mark.parametrize("kind", [NllbMoeExperts, SwitchTransformersExperts])
def test_experts_that_are_a_container_with_a_forward_are_called(kind: type[nn.Module]) -> None:
    module = kind.__new__(kind)
    nn.ModuleDict.__init__(module)  # type: ignore[arg-type]  # both are ones
    assert is_called(module)


def test_a_bare_container_is_not_called() -> None:
    assert is_called(Halves())
    for kind in (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict):
        assert not is_called(kind())
