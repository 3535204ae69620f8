"""The recipe for tiny instances: what it builds runs on text, alike every time, and has all its kinds of layers."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig

from tests.conftest import Report
from tests.models.tasks import AUTO_CLASSES, MISSING_PACKAGES, NOT_ON_TEXT_ALONE
from tests.models.tiny import (
    NOT_BUILT,
    TASKS,
    VOCABULARY,
    Task,
    model_types,
    tiny_config,
    tiny_inputs,
    tiny_model,
    tiny_tokenizer,
)

SAMPLE: list[tuple[str, Task]] = [
    ("llama", "causal"),
    ("gemma3n_text", "causal"),
    ("granitemoehybrid", "causal"),
    ("kimi_linear", "causal"),
    ("xlstm", "causal"),
    ("qwen3_5", "causal"),
    ("bert", "causal"),
    ("t5", "seq2seq"),
    ("voxtral", "seq2seq"),
    ("modernbert", "masked"),
    ("layoutlm", "masked"),
    ("bart", "classification"),
    ("gpt2", "classification"),
]
"""What runs every time; the rest is marked `sweep`."""

GOAL = 0.95
"""Of the types that run on text alone."""

KINDS = ("layer_types", "layers_block_type", "mlp_layer_types", "attn_layers", "block_types", "attention_layers")


def built(task: Task) -> list[str]:
    return [name for name in model_types(task) if name not in NOT_BUILT[task]]


def logits(model: Any, task: Task) -> Tensor:
    """(B, T, V), or (B, labels) for a classifier."""
    with torch.no_grad():
        outputs = model(**tiny_inputs(model, task))
    result = outputs.logits
    assert isinstance(result, Tensor)
    return result


def try_out(name: str, task: Task) -> None:
    """Builds a type twice, runs it on text, and has it generate if that is its task."""
    model, again = tiny_model(name, task), tiny_model(name, task)
    result = logits(model, task)
    assert result.isfinite().all()
    assert torch.equal(result, logits(again, task))
    assert task == "classification" or (result[0] - result[0, 0]).abs().max() > 0.1, "tokens are all alike"
    assert model.config.architectures == [type(model).__name__]
    if task in ("causal", "seq2seq"):
        ids = tiny_inputs(model, task)["input_ids"]
        made = model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, disable_compile=True)
        assert made.shape[-1] == 4 + (1 if model.config.is_encoder_decoder else ids.shape[-1])


@pytest.mark.parametrize(("name", "task"), SAMPLE)
def test_a_tiny_model_runs_on_text(name: str, task: Task) -> None:
    try_out(name, task)


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
def test_the_recipe_builds_what_runs_on_text(report: Report) -> None:
    failed: list[str] = []
    for task in TASKS:
        types = model_types(task)
        on_text = [name for name in types if name not in NOT_ON_TEXT_ALONE[task]]
        broken = [f"{task} {name}: {error}" for name in built(task) if (error := error_of(name, task))]
        failed += broken
        runs = len(built(task)) - len(broken)
        share = runs / len(on_text)
        title = f"tiny models, {task}: {len(types)} types, {len(on_text)} on text, {runs} built"
        report(f"{title}, {share:.1%}", [f"{name}: {reason}" for name, reason in NOT_BUILT[task].items()])
        assert share >= GOAL
    assert not failed, "\n".join(failed)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("name", "task"), [(name, task) for task in TASKS for name in NOT_BUILT[task]])
def test_what_is_not_built_is_still_listed_for_a_reason(name: str, task: Task) -> None:
    assert name in model_types(task)
    if name in MISSING_PACKAGES[task] and find_spec("timm"):
        pytest.skip("the package is there")
    assert error_of(name, task), "it can be built by now: take it off the list"


def error_of(name: str, task: Task) -> str:
    """Why a type cannot be built or run; empty if it can."""
    try:
        try_out(name, task)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own configurations
def test_no_kind_of_layer_is_left_out() -> None:
    for name in built("causal"):
        small, usual = tiny_config(name).get_text_config(), CONFIG_MAPPING[name]().get_text_config()
        for kinds in KINDS:
            missing = set(getattr(usual, kinds, None) or ()) - set(getattr(small, kinds, None) or ())
            assert not missing, f"{name} has no {missing}"


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # of transformers, about its own configurations
def test_no_kind_of_module_is_left_out() -> None:
    for task in TASKS:
        for name in built(task):
            usual = usual_modules(name, task)
            assert usual <= {type(module) for module in tiny_model(name, task).modules()}, f"{task} {name}"


def usual_modules(name: str, task: Task) -> set[type]:
    """The classes of the modules of the model in its full size; none if it cannot be made without further arguments."""
    config = CONFIG_MAPPING[name]()
    if task == "causal" and "is_decoder" in vars(config):
        config.is_decoder = True
    try:
        with torch.device("meta"):
            model = AUTO_CLASSES[task].from_config(config)
    except (AttributeError, KeyError, TypeError):
        return set()
    return {type(module) for module in model.modules()} - {nn.Identity}


@pytest.mark.parametrize(("name", "task"), [("llama", "causal"), ("bert", "masked"), ("gpt2", "classification")])
def test_a_saved_tiny_model_is_found_again(name: str, task: Task, tmp_path: Path) -> None:
    save_and_load(name, task, tmp_path)


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize("task", TASKS)
def test_every_saved_tiny_model_is_found_again(task: Task, tmp_path: Path) -> None:
    for name in built(task):
        save_and_load(name, task, tmp_path / name)


def save_and_load(name: str, task: Task, folder: Path) -> None:
    """By the class that the saved configuration names."""
    model = tiny_model(name, task)
    model.save_pretrained(folder)
    (architecture,) = AutoConfig.from_pretrained(folder).architectures
    again = getattr(transformers, architecture).from_pretrained(folder).eval()
    assert type(again) is type(model)
    assert torch.allclose(logits(again, task), logits(model, task), atol=1e-4), name


def test_other_weights_come_from_another_seed() -> None:
    assert not torch.equal(logits(tiny_model("llama", seed=1), "causal"), logits(tiny_model("llama"), "causal"))


def test_building_leaves_the_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    tiny_model("gpt2")
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_are_what_the_model_takes() -> None:
    model = tiny_model("layoutlm", "masked")
    inputs = tiny_inputs(model, "masked", batch=2)
    assert set(inputs) <= set(inspect.signature(model.forward).parameters)
    assert inputs["input_ids"].shape == (2, 12)
    assert inputs["bbox"].shape == (2, 12, 4)


def test_the_tokenizer_fits_the_models() -> None:
    tokenizer = tiny_tokenizer()
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.decode(tokenizer("The end of it.").input_ids) == "The end of it."
