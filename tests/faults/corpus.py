"""What a fault is: a broken model or input, and what has to be found of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.anatomy.loading import Loaded
from tests.faults.breaking import Break, nothing
from tests.models.tiny import tiny_model, tiny_tokenizer

FRANCE = "The capital of France is"
Inputs = dict[str, Tensor]
Gives = Callable[[Any], Inputs]
"""Makes the input with a tokenizer."""


@dataclass(frozen=True)
class Found:
    """Where a run stops first, and what for."""

    filter: str
    path: str
    step: int = 0
    sequence: int = 0


def prompt(*texts: str) -> Gives:
    """Texts as they should be given: padded on the left, with a mask."""

    def given(tokenizer: Any) -> Inputs:
        made = tokenizer(list(texts), return_tensors="pt", padding=len(texts) > 1)
        return {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"]}

    return given


ONE = prompt(FRANCE)
TWO = prompt("Repeat: red lamp tree. Again:", FRANCE)


def changed(gives: Gives, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Gives:
    """An input of which ids and mask (B, T) are spoilt."""

    def given(tokenizer: Any) -> Inputs:
        ids, mask = change(*gives(tokenizer).values())
        return {"input_ids": ids, "attention_mask": mask}

    return given


@dataclass(frozen=True)
class Fault:
    """A fault, and what the debugger has to say of it.

    Attributes:
        name: what is wrong.
        expected: where the run stops first, with every filter on; None where no filter stops it.
        says: what the explanation has in it.
        missed: why no filter can be expected to stop it.
        breaks: the model.
        gives: the input.
        options: of `generate`.
        model: a tiny random architecture; the trained example model if None.
        dtype: of the model.
    """

    name: str
    expected: Found | None = None
    says: str = ""
    missed: str = ""
    breaks: Break = nothing
    gives: Gives = ONE
    options: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    dtype: torch.dtype = torch.float32

    def loaded(self, atlas: Loaded) -> Loaded:
        """The broken model, which is nobody else's."""
        if self.model is None:
            loaded = Loaded(copy.deepcopy(atlas.model).to(self.dtype), atlas.tokenizer)
        else:
            loaded = Loaded(tiny_model(self.model).to(self.dtype), tiny_tokenizer())
        self.breaks(loaded.model)
        return loaded
