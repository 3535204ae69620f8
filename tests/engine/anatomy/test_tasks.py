"""What a checkpoint was made for, by its configuration alone."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import BartConfig, BertConfig, CLIPConfig, GPT2Config, LlamaConfig, T5Config, XLMConfig

from dap_server.engine.anatomy.tasks import Task, UnknownTask, task_of


@pytest.mark.parametrize(
    ("config", "architecture", "task"),
    [
        (LlamaConfig, "LlamaForCausalLM", Task.CAUSAL),
        (LlamaConfig, "LlamaForSequenceClassification", Task.CLASSIFICATION),
        (LlamaConfig, None, Task.CAUSAL),
        (GPT2Config, "GPT2LMHeadModel", Task.CAUSAL),
        (BertConfig, "BertForMaskedLM", Task.MASKED),
        (BertConfig, "BertLMHeadModel", Task.CAUSAL),
        (BertConfig, "BertForSequenceClassification", Task.CLASSIFICATION),
        (BertConfig, None, Task.MASKED),
        (BartConfig, "BartForConditionalGeneration", Task.SEQ2SEQ),
        (BartConfig, "BartForCausalLM", Task.CAUSAL),
        (BartConfig, "BartForSequenceClassification", Task.CLASSIFICATION),
        (T5Config, "T5WithLMHeadModel", Task.SEQ2SEQ),
        (XLMConfig, "XLMWithLMHeadModel", Task.MASKED),
    ],
)
def test_a_checkpoint_is_loaded_by_what_it_was_saved_from(config: Any, architecture: str | None, task: Task) -> None:
    assert task_of(config(architectures=[architecture] if architecture else None)) is task


def test_a_class_that_fills_in_and_continues_does_what_its_configuration_says() -> None:
    assert task_of(XLMConfig(architectures=["XLMWithLMHeadModel"], causal=True)) is Task.CAUSAL
    assert task_of(BertConfig(is_decoder=True)) is Task.CAUSAL


@pytest.mark.parametrize(
    ("reference", "task"),
    [
        ({"AutoModelForMaskedLM": "modeling_own.OwnForMaskedLM", "AutoModel": "modeling_own.Own"}, Task.MASKED),
        ({"AutoModelForSequenceClassification": "modeling_own.OwnClassifier"}, Task.CLASSIFICATION),
    ],
)
def test_code_beside_a_checkpoint_says_what_it_is_for(reference: dict[str, str], task: Task) -> None:
    config: Any = BertConfig(architectures=["OwnForMaskedLM"])
    config.auto_map = reference
    assert task_of(config) is task


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (BertConfig(architectures=["BertForTokenClassification"]), "it holds a BertForTokenClassification"),
        (LlamaConfig(architectures=["LlamaModel"]), "it holds a LlamaModel"),
        (CLIPConfig(), "loads models of type 'clip'"),
    ],
)
def test_what_no_auto_class_loads_is_named(config: Any, says: str) -> None:
    with pytest.raises(UnknownTask, match=says):
        task_of(config)
