"""The four tasks, which model types transformers' Auto classes can build for each, and which of them are left out."""

from __future__ import annotations

from typing import Any, Literal, get_args

from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)
from transformers.models.auto import modeling_auto

Task = Literal["causal", "seq2seq", "masked", "classification"]
TASKS: tuple[Task, ...] = get_args(Task)

AUTO_CLASSES: dict[Task, Any] = {
    "causal": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "masked": AutoModelForMaskedLM,
    "classification": AutoModelForSequenceClassification,
}

_MAPPINGS: dict[Task, Any] = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "seq2seq": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "masked": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "classification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
}

_DRAFTS = (
    "drafts from the hidden states and keys of another model, its forward refuses input_ids; besides, transformers 5.23"
    " builds none: it wants all layers to share keys, and then refuses that no layer makes them"
)
_SOUND = "continues codes of sound; the Auto class gives it the whole configuration, where it takes its decoder's"

NOT_ON_TEXT_ALONE: dict[Task, dict[str, str]] = {
    "causal": {
        "gemma4_assistant": _DRAFTS,
        "gemma4_unified_assistant": _DRAFTS,
        "musicgen": _SOUND,
        "musicgen_melody": _SOUND,
    },
    "seq2seq": {"voxtral_realtime": "adds sound to every token: its forward asks for input_features"},
    "masked": {},
    "classification": {"layoutlmv2": "needs the image of a page, and detectron2, which is no package of PyPI"},
}
"""Types that take more than text, and why."""

MISSING_PACKAGES: dict[Task, dict[str, str]] = {
    "causal": {
        "gemma3n": "its vision tower needs timm, torchvision and Pillow, which the tests do not install;"
        " its text model is built, as gemma3n_text"
    },
    "seq2seq": {},
    "masked": {},
    "classification": {},
}
"""Types that would run on text if more were installed."""

NOT_BUILT: dict[Task, dict[str, str]] = {task: NOT_ON_TEXT_ALONE[task] | MISSING_PACKAGES[task] for task in TASKS}
"""Types that `tiny_model` does not build, or whose model does not run on what `tiny_inputs` makes, and why."""


def model_types(task: Task) -> list[str]:
    """The model types that transformers' Auto class of the task can build, in its order."""
    return list(_MAPPINGS[task])
