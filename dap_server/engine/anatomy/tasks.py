"""What a checkpoint was made for: which of transformers' auto classes loads it, and whether that generates."""

from __future__ import annotations

import enum
from typing import Any

import transformers


class Task(enum.Enum):
    """What a model does with a text; the value is the auto class that loads it."""

    CAUSAL = "AutoModelForCausalLM"
    SEQ2SEQ = "AutoModelForSeq2SeqLM"
    MASKED = "AutoModelForMaskedLM"
    CLASSIFICATION = "AutoModelForSequenceClassification"

    @property
    def generates(self) -> bool:
        """Whether it makes tokens one by one; else it answers with one forward."""
        return self in (Task.CAUSAL, Task.SEQ2SEQ)

    @property
    def auto_class(self) -> Any:
        return getattr(transformers, self.value)


_LOADERS = ", ".join(task.value for task in Task)


class UnknownTask(ValueError):
    """A checkpoint that none of these auto classes can load; the text says what it is."""


def task_of(config: Any) -> Task:
    """What a configuration says: by the class it was saved from, else by what its model type has.

    Raises:
        UnknownTask: it was saved from a class of another kind, or its type has none of these.
    """
    own_code = getattr(config, "auto_map", None) or {}
    names: list[str] = config.architectures or []
    for task in _preferred(config):
        if _mentions(own_code.get(task.value), names) or _classes(task, config) & set(names):
            return task
    if found := next((task for task in _preferred(config) if task.value in own_code), None):
        return found
    other = next((name for name in names if hasattr(transformers, name)), None)
    if other is not None:
        raise UnknownTask(f"it holds a {other}, which is none of the classes that {_LOADERS} load")
    by_type = next((task for task in _preferred(config) if _classes(task, config)), None)
    if by_type is None:
        raise UnknownTask(f"none of {_LOADERS} loads models of type '{config.model_type}'")
    return by_type


def _preferred(config: Any) -> list[Task]:
    """The order in which tasks are tried: some classes serve two, and many types have models for several."""
    is_decoder = getattr(config, "is_decoder", False) or getattr(config, "causal", False)
    language = [Task.CAUSAL, Task.MASKED] if is_decoder else [Task.MASKED, Task.CAUSAL]
    first = [Task.SEQ2SEQ, *language] if getattr(config, "is_encoder_decoder", False) else [*language, Task.SEQ2SEQ]
    return [*first, Task.CLASSIFICATION]


def _mentions(reference: Any, names: list[str]) -> bool:
    """Whether `modeling_own.OwnModel`, as a configuration refers to code beside it, is one of the classes."""
    return isinstance(reference, str) and reference.rpartition(".")[2] in names


def _classes(task: Task, config: Any) -> set[str]:
    """Names of the classes that an auto class has for the type of a configuration."""
    kinds = task.auto_class._model_mapping.get(type(config), ())
    return {kind.__name__ for kind in (kinds if isinstance(kinds, (list, tuple)) else (kinds,))}
