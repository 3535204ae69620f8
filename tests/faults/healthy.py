"""Models and inputs that are well."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from dap_server.engine.anatomy.loading import Loaded
from tests.faults.corpus import FRANCE, Fault, Gives, prompt

KNOWN = [
    FRANCE,
    "Repeat: red lamp tree. Again:",
    "cat tree lamp moon cat",
    "one two three four",
    "3 + 4 =",
    "I saw the film. I loved it. It was",
    "Anna has the lamp. Ben has the cup. Anna has the",
    "When Anna and Ben went to the park, Ben gave the book to",
    "The opposite of hot is",
]
"""What the example model was made for."""

OPEN = ["The", "Repeat:", "<|user|>", "", "What is", "3 +", "one", "The opposite of"]
"""Texts that go on in many ways, to be sampled."""

SAMPLED: dict[str, Any] = {"do_sample": True, "top_k": 0}
LONG: dict[str, Any] = {**SAMPLED, "eos_token_id": [], "max_new_tokens": 250}
"""As many tokens as the model has been trained to read in one text, about."""


@dataclass(frozen=True)
class Run:
    """A run in which nothing is wrong. `least`: tokens that it has to make."""

    name: str
    gives: Gives
    options: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    least: int = 5

    def loaded(self, atlas: Loaded) -> Loaded:
        return atlas if self.dtype is torch.float32 else Fault(self.name, dtype=self.dtype).loaded(atlas)


HEALTHY = [
    *[Run(f"greedy: {text}", prompt(text), {"max_new_tokens": 64}) for text in KNOWN],
    Run("greedy, without a prompt", prompt(""), {"max_new_tokens": 64}),
    Run("a batch, padded on the left", prompt(*KNOWN), {"max_new_tokens": 64}),
    Run("a batch, sampled", prompt(*KNOWN), {**SAMPLED, "max_new_tokens": 64}),
    Run(
        "a batch, the best 50 at a low temperature",
        prompt(*KNOWN),
        {"do_sample": True, "temperature": 0.7, "top_k": 50},
    ),
    Run("float16", prompt(FRANCE), dtype=torch.float16),
    Run("bfloat16", prompt(FRANCE), dtype=torch.bfloat16),
    Run("one text after another, four times", prompt(*OPEN[:4]), LONG, least=1_000),
]

LONGER = Run("one text after another, eight times", prompt(*OPEN), LONG, least=2_000)
