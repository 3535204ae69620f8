"""Experts that are ablated: against a copy of the model in which all numbers of the expert are 0."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.routers import Router, routers
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import Edit, Expert, Steps
from dap_server.engine.execution.edits.outcomes import Outcomes
from tests.models.tiny import NOT_BUILT, PAD, Task, model_types, tiny_model

EXPERTS = [
    "mixtral", "qwen2_moe", "gpt_oss", "deepseek_v3", "llama4_text", "granitemoe", "phimoe", "switch_transformers",
    "jetmoe",
]  # fmt: skip
"""What runs every time."""

OTHERWISE_CALLED = {"nllb-moe": "takes the marks of its router for numbers: experts 0 and 1 work for all of them"}
"""Types whose experts do not get what their routers say, and why."""

NOT_TOLD = {"jetmoe": "sorts tokens by their experts before it multiplies, so no weight has a place of its own"}
"""Types whose experts cannot be ablated, and why."""

LENGTH, STEPS = 9, 3


def with_experts() -> list[Any]:
    """Model types that generate and have routers are known once they are built: types without are passed over then."""
    tasks: tuple[Task, ...] = ("causal", "seq2seq")
    names = [(task, name) for task in tasks for name in model_types(task) if name not in NOT_BUILT[task]]
    return [pytest.param(task, name, marks=[] if name in EXPERTS else [pytest.mark.sweep]) for task, name in names]


def generated(model: Any, edit: Edit | None = None) -> tuple[Tensor, Outcomes]:
    """Logits (steps, B, V) of a left-padded batch, with the tokens of the model as it is run."""
    ids = torch.randint(3, 90, (2, LENGTH), generator=torch.Generator().manual_seed(5))
    ids[1, :2] = PAD
    outcomes = Outcomes()
    with ModuleEdits(Anatomy(model)).applied(lambda: (0, [edit] if edit else []), outcomes):
        out = model.generate(
            input_ids=ids, attention_mask=(ids != PAD).long(), max_new_tokens=STEPS, min_new_tokens=STEPS,
            disable_compile=True, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    return torch.stack(out.logits), outcomes


def ablation(path: str, index: int) -> Edit:
    return Edit(Expert(path, index), Change("zero"), Steps(), id=1)


def with_zeros(model: nn.Module, router: Router, index: int, count: int) -> nn.Module:
    """A copy whose expert has no number but 0."""
    other = copy.deepcopy(model)
    assert router.experts is not None
    experts = other.get_submodule(router.experts)
    members = [child for child in experts.children() if not list(experts.parameters(recurse=False))]
    with torch.no_grad():
        if len(members) == count:
            for parameter in members[index].parameters():
                parameter.zero_()
        else:
            for parameter in experts.parameters():  # (E, …, …), (E, …), or (E · …, …)
                part = parameter if parameter.dim() == 3 or len(parameter) == count else parameter.view(count, -1)
                part[index].zero_()
    return other


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("task", "name"), with_experts())
def test_an_expert_that_is_ablated_adds_nothing_and_the_others_what_they_did(task: Task, name: str) -> None:
    model = tiny_model(name, task)
    found = routers(Anatomy(model))
    if not found or name in OTHERWISE_CALLED:
        return
    router = found[-1]
    plain, _ = generated(model)
    if name in NOT_TOLD:
        same, outcomes = generated(model, ablation(router.path, 0))
        assert torch.equal(same, plain)
        assert "does not tell which weight is whose" in outcomes.problems[1]
        return
    count = _count(model)
    moved = 0
    for index in range(count):
        edited, outcomes = generated(model, ablation(router.path, index))
        assert not outcomes.problems
        assert torch.equal(edited, generated(with_zeros(model, router, index, count))[0]), index
        moved += not torch.equal(edited, plain)
    assert moved, "some expert is used"
    assert torch.equal(generated(model)[0], plain)


def _count(model: Any) -> int:
    config = model.config.get_text_config()
    names = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    holders = [config, getattr(config, "ffn_config", None)]
    return next(v for holder in holders for n in names if isinstance(v := getattr(holder, n, None), int))


def test_a_mixture_is_named_by_any_module_around_its_router() -> None:
    model = tiny_model("mixtral")
    router = routers(Anatomy(model))[0]
    first, _ = generated(model, ablation(router.path, 1))
    layer = router.path.rsplit(".", 2)[0]
    for path in (router.experts, layer, router.path.rpartition(".")[0]):
        assert torch.equal(generated(model, ablation(str(path), 1))[0], first), path
    every, outcomes = generated(model, ablation("*.mlp", 1))
    assert not torch.equal(every, first)
    assert outcomes.met == {1: {0}}


@pytest.mark.parametrize(
    ("name", "path", "index", "message"),
    [
        ("mixtral", "model.layers.0.mlp", 9, "no experts 9: there are 4"),
        ("mixtral", "model.layers.0.self_attn", 0, "no router of experts in 'model.layers.0.self_attn'"),
        ("llama", "model.layers.0.mlp", 0, "no router of experts"),
    ],
)
def test_what_is_no_expert_is_said(name: str, path: str, index: int, message: str) -> None:
    model = tiny_model(name)
    plain, _ = generated(model)
    same, outcomes = generated(model, ablation(path, index))
    assert torch.equal(same, plain)
    assert message in outcomes.problems[1]
