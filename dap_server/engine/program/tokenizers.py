"""Which tokenizer a program uses with a model: it is not told, so it is looked for where the model is called."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dap_server.engine.execution.activations import outward

_MACHINERY = ("torch.", "transformers.", "dap_server.", "accelerate.", "peft.")
"""Packages in whose globals no program keeps its tokenizer."""


def tokenizer_around(frame: FrameType | None, model: nn.Module, given: Iterable[Any] = ()) -> Any:
    """The nearest one that fits, of what a call is given and of the Python frames around it.

    One that was made for this very model comes before others.
    """
    names, size = name_of(model), vocabulary_size(model)
    found = itertools.chain((one for value in given for one in _of(value)), _tokenizers(frame))
    fitting = [one for one in found if size is None or len(one) <= size]
    same = [one for one in fitting if names and getattr(one, "name_or_path", None) == names]
    return next(iter(same or fitting), None)


def tokenizer_beside(model: nn.Module) -> Any:
    """That of the local folder that a model was loaded from; None without one."""
    folder = name_of(model)
    if not folder or not os.path.isdir(folder):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception:  # whatever its files have in them: the model is debugged by ids then
        return None


def name_of(model: nn.Module) -> str:
    """What a model was loaded from; "" where that is not known."""
    return str(getattr(model, "name_or_path", "") or "")


def vocabulary_size(model: nn.Module) -> int | None:
    """How many tokens its largest embedding has; None without one."""
    sizes = [part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding)]
    return max(sizes, default=None)


def _tokenizers(frame: FrameType | None) -> Iterator[Any]:
    for around in outward(frame):
        if not f"{around.f_globals.get('__name__', '')}.".startswith(_MACHINERY):
            yield from _among(around.f_locals)
            yield from _among(around.f_globals)
        owner = around.f_locals.get("self")
        if hasattr(owner, "__dict__") and not isinstance(owner, nn.Module):
            yield from _among(vars(owner))  # of a pipeline, a trainer, an object of the program


def _among(values: dict[str, Any]) -> Iterator[Any]:
    for value in list(values.values()):
        yield from _of(value)


def _of(value: object) -> Iterator[Any]:
    """A tokenizer, or that of a processor."""
    if isinstance(value, PreTrainedTokenizerBase):
        yield value
    elif type(value).__module__.startswith("transformers.") and not isinstance(value, nn.Module):
        held = vars(value).get("tokenizer") if hasattr(value, "__dict__") else None
        if isinstance(held, PreTrainedTokenizerBase):
            yield held
