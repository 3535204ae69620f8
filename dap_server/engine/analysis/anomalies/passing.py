"""What an anomaly is measured on: a place that a run passes, for one sequence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.analysis.norms import first_tensor
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.stops import NOTHING


class Passing(NamedTuple):
    """A place that a run passes."""

    candidate: Candidate
    sequence: int
    anatomy: Anatomy

    @property
    def module(self) -> nn.Module:
        return self.anatomy.modules[self.candidate.place.path]

    @property
    def output(self) -> Tensor:
        """The first tensor of floating-point numbers that the module returned. Raises NotKnown."""
        made = self.candidate.output
        found = None if made is NOTHING else first_tensor(made)
        if found is None:
            raise NotKnown("no tensor of floating-point numbers is returned here")
        return found.detach()

    @property
    def input(self) -> Tensor | None:
        """The first tensor of floating-point numbers that the module was given."""
        found = first_tensor(self.candidate.given)
        return None if found is None else found.detach()


def share(flags: Tensor) -> Tensor:
    """() what part of the flags is set; 0 where there are none."""
    if not flags.numel():
        return torch.zeros((), device=flags.device)
    return flags.float().mean()
