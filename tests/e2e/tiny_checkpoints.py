"""Checkpoints of tiny random models with a tokenizer of whole words, as `from_pretrained` finds them on a disk."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.models.tiny import BOS, EOS, PAD, VOCABULARY, Task, tiny_model

SPECIAL = {"[PAD]": PAD, "[CLS]": BOS, "[SEP]": EOS, "[MASK]": 3, "[UNK]": 4}
WORDS = ["The", "capital", "of", "France", "Spain", "is", "Paris", "Madrid", "one", "two", "three", "four"]


def save(folder: Path, name: str, task: Task, labels: list[str] | None = None) -> Path:
    """Saves a tiny model of a type; `labels` are those of a classifier. Gives the folder."""
    model = tiny_model(name, task)
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: i for i, label in enumerate(labels)}
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words between `[CLS]` and `[SEP]`, with a mask; padded on the right."""
    ids = {word: i for i, word in enumerate(WORDS, start=len(SPECIAL))}
    rest = {f"w{i}": i for i in range(len(SPECIAL) + len(WORDS), VOCABULARY)}
    words = Tokenizer(models.WordLevel(SPECIAL | ids | rest, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", BOS), ("[SEP]", EOS)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", padding_side="right", **names)
