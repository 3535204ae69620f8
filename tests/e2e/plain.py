"""The same model without a debugger: plain transformers, and arithmetic in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed


class Plain:
    """A model as its users load it."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder)

    def encode(self, *prompts: str) -> dict[str, Tensor]:
        return dict(self.tokenizer(list(prompts), return_tensors="pt", padding=len(prompts) > 1))

    def generate(self, *prompts: str, seed: int | None = None, **options: Any) -> Any:
        """What `model.generate` returns."""
        return self._generate(self.encode(*prompts), seed, options)

    def texts(self, *prompts: str, seed: int | None = None, **options: Any) -> list[str]:
        """Prompt and continuation of every sequence."""
        return [self.decode(row) for row in self.generate(*prompts, seed=seed, **options)]

    def answer(self, messages: list[dict[str, str]], **options: Any) -> str:
        """Chat and continuation, without the template's special tokens."""
        chat = {"return_tensors": "pt", "return_dict": True, "add_generation_prompt": True}
        inputs = dict(self.tokenizer.apply_chat_template(messages, **chat))
        return self.decode(self._generate(inputs, None, options)[0])

    def decode(self, ids: Tensor) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def token(self, token: int) -> str:
        """The text of one token as a Python literal."""
        return repr(self.tokenizer.decode([token]))

    def output_of(self, path: str, *prompts: str) -> Tensor:
        """What a hook on a module sees in one forward over the prompts."""
        seen: list[Tensor] = []

        def hook(_module: Any, _args: Any, output: Any) -> None:
            seen.append(output if isinstance(output, Tensor) else output[0])

        handle = self.model.get_submodule(path).register_forward_hook(hook)
        try:
            self.generate(*prompts, max_new_tokens=1)
        finally:
            handle.remove()
        return seen[0]

    def _generate(self, inputs: dict[str, Tensor], seed: int | None, options: dict[str, Any]) -> Any:
        if seed is not None:
            set_seed(seed)
        with torch.no_grad():
            return self.model.generate(**inputs, **options)


class Choice:
    """The distribution that a token is drawn from, computed in float64."""

    def __init__(self, logits: Tensor, temperature: float = 1.0, top_k: int | None = None) -> None:
        """`logits`: (V,) as the model gave them."""
        scores = logits.numpy().astype(np.float64) / temperature
        if top_k is not None:
            scores[scores < np.sort(scores)[-top_k]] = -np.inf
        weights = np.exp(scores - scores.max())
        self.probs = weights / weights.sum()  # (V,)

    @property
    def entropy(self) -> float:
        """In nats."""
        positive = self.probs[self.probs > 0]
        return float(-(positive * np.log(positive)).sum())

    def rank(self, token: int) -> int:
        """1 for the most likely."""
        return int((self.probs > self.probs[token]).sum()) + 1

    def best(self, count: int) -> list[int]:
        return [int(i) for i in np.argsort(-self.probs, kind="stable")[:count]]
