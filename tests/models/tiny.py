"""Tiny random instances of transformers' architectures, made from their configurations; nothing is downloaded.

One recipe fits nearly all: whatever a configuration calls a width, a head, a layer, a window or a chunk is made small,
in sub-configurations too, and one layer of every kind is kept. What it does not find by itself is in `EXCEPTIONS`.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerFast

from tests.models.configs import small_config
from tests.models.exceptions import VARIANTS
from tests.models.sizes import BOS, EOS, PAD, VOCABULARY
from tests.models.tasks import AUTO_CLASSES, NOT_BUILT, TASKS, Task, model_types

__all__ = [
    "BOS", "EOS", "NOT_BUILT", "PAD", "TASKS", "VARIANTS", "VOCABULARY", "Task",
    "model_types", "tiny_config", "tiny_inputs", "tiny_model", "tiny_tokenizer",
]  # fmt: skip

_LENGTH = 12
"""Of what `tiny_inputs` makes: more than a window or a chunk."""


def tiny_config(name: str, task: Task | None = None) -> PretrainedConfig:
    """The configuration of a tiny instance; `name` is a model type of transformers or one of `VARIANTS`."""
    model_type, changes = VARIANTS.get(name, (name, {}))
    return small_config(model_type, changes, causal=task == "causal")


def tiny_model(name: str, task: Task | None = None, seed: int = 0, **options: Any) -> Any:
    """A tiny random model in evaluation mode, the same one for the same seed.

    Args:
        name: a model type of transformers or one of `VARIANTS`.
        task: says which Auto class builds it; without one it is what generates, with an encoder if the type has one.
        seed: of the weights.
        options: those of `from_config`.
    """
    task = task or ("seq2seq" if tiny_config(name).is_encoder_decoder else "causal")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AUTO_CLASSES[task].from_config(tiny_config(name, task), **options)
    model.config.architectures = [type(model).__name__]
    if model.can_generate():
        start = BOS if model.config.is_encoder_decoder else None
        model.generation_config = GenerationConfig(
            pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, decoder_start_token_id=start
        )
    return model.eval()


def tiny_inputs(model: Any, task: Task, batch: int = 1) -> dict[str, Tensor]:
    """What `model(**inputs)` takes: a dozen random tokens (B, T), the same every time, and what belongs to them."""
    ids = torch.randint(EOS + 1, VOCABULARY, (batch, _LENGTH), generator=torch.Generator().manual_seed(5))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder and task == "seq2seq":
        inputs["decoder_input_ids"] = ids.flip(-1)
    if model.config.is_encoder_decoder and task == "classification":
        ids[:, -1] = EOS  # where they read their answer
        inputs["decoder_input_ids"] = ids.clone()
    if "bbox" in inspect.signature(model.forward).parameters:
        corner = torch.arange(_LENGTH)
        box = torch.stack([corner, 2 * corner, 3 * corner + 5, 4 * corner + 7], dim=-1)
        inputs["bbox"] = box.expand(batch, _LENGTH, 4).clone()  # left, top, right, bottom on the page
    return inputs


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each of the first printable characters of ASCII; fits every tiny model."""
    characters = {chr(ord(" ") + place): EOS + 1 + place for place in range(VOCABULARY - EOS - 1)}
    special = {"<pad>": PAD, "<s>": BOS, "</s>": EOS}
    tokenizer = Tokenizer(models.WordLevel(special | characters, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **names)
