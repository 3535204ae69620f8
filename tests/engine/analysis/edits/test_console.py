"""What lines of the console mean as edits, and where their numbers come from, in a batch of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dap_server.engine.analysis.edits.assignments import Assignment, Pointing, read_assignment
from dap_server.engine.analysis.edits.interventions import NAMES, Interventions
from dap_server.engine.analysis.edits.proposal import Listed, Proposed, Undone
from dap_server.engine.analysis.patching.sources import Sources
from dap_server.engine.execution.edits.changes import Change, Source
from dap_server.engine.execution.edits.edit import (
    AttentionValue,
    Expert,
    Logits,
    ModuleValue,
    Option,
    StoredValue,
    Token,
)
from dap_server.engine.execution.edits.selection import CannotEdit, Selection
from dap_server.engine.execution.stepping import Stop
from dap_server.engine.inspection.evaluation import Evaluator
from dap_server.engine.inspection.frames import CallStack, Frame
from tests.engine.walk import PROMPTS, Walk, looking
from tests.models.tiny import tiny_model

LAYER, FIRST = "model.layers.1", "model.layers.0"
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("output[0, -1] = 0", Assignment("output[0, -1]", "", "0")),
        ("hidden *= 2", Assignment("hidden", "*", "2")),
        ("a.b[3][4] -= c + 1", Assignment("a.b[3][4]", "-", "c + 1")),
        ("token = ' Tokyo'", Assignment("token", "", "' Tokyo'")),
        ("a = b = 3", None),
        ("a == 3", None),
        ("a @= 3", None),
        ("f(x)", None),
        ("a = 3; b = 4", None),
        ("a = ", None),
    ],
)
def test_assignments_are_told_from_other_python(text: str, expected: Assignment | None) -> None:
    assert read_assignment(text) == expected


TARGETS: list[tuple[str, Any]] = [
    ("output[0, -1]", ModuleValue(LAYER, selection=Selection(index=(0, -1)))),
    ("output[0][2][3]", ModuleValue(LAYER, selection=Selection(index=(0, 2, 3)))),
    ("output", ModuleValue(LAYER)),
    ("hidden[..., 3]", ModuleValue(LAYER, selection=Selection(index=(..., 3)))),
    ("inputs['hidden_states'][1]", ModuleValue(LAYER, "input", selection=Selection(index=(1,)))),
    ("hidden_states[1, 2:4]", ModuleValue(LAYER, "input", selection=Selection(index=(1, slice(2, 4))))),
    ("attention_mask", ModuleValue(LAYER, "input", "attention_mask")),
    ("attention[1, :, 2]", AttentionValue(LAYER, "pattern", (1,), None, (2,))),
    ("module.mlp.down_proj.weight[3, 5]", StoredValue("parameter", DOWN, Selection(index=(3, 5)))),
    ("model.model.layers[1].mlp.down_proj.weight", StoredValue("parameter", DOWN)),
    ("cache.layers[0].keys[0, 1]", StoredValue("cache", "0.keys", Selection(index=(0, 1)))),
    ("logits[1, 7]", Logits(Selection(index=(1, 7)))),
    ("token", Token(0)),
    ("temperature", Option("temperature")),
    ("something", None),
    ("torch.pi", None),
    ("step", None),
    ("module.mlp", None),
]


@pytest.mark.parametrize(("text", "target"), TARGETS, ids=[text for text, _ in TARGETS])
def test_an_expression_points_at_what_the_run_uses(text: str, target: Any) -> None:
    assert _at_a_layer(lambda walk, frame: _pointing(walk, frame).target(text)) == target


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("output[0, -1] = 3", {"kind": "set", "number": 3.0}),
    ("output[0, -1] = nan", {"kind": "set", "number": "nan"}),
    ("output *= 2", {"kind": "scale", "number": 2.0}),
    ("output /= 4", {"kind": "scale", "number": 0.25}),
    ("output -= torch.ones(3)", {"kind": "steer", "number": -1.0, "tensor": [1.0, 1.0, 1.0]}),
    ("output[0, 0, :2] = [1, 2]", {"kind": "set", "tensor": [1, 2]}),
    ("output[0, 0, :2] = output[0, 0, :2] * 0", {"kind": "set", "tensor": [0.0, 0.0]}),
    ("module.mlp.down_proj.weight[0, 0] **= 0", {"kind": "set", "tensor": 1.0}),
    ("token = 7", {"kind": "force", "tokens": (7,)}),
    ("temperature = 0.5", {"kind": "set", "number": 0.5}),
]


@pytest.mark.parametrize(("line", "expected"), CHANGES, ids=[line for line, _ in CHANGES])
def test_what_is_assigned_is_the_change(line: str, expected: dict[str, Any]) -> None:
    assignment = read_assignment(line)
    assert assignment is not None
    proposal = _at_a_layer(lambda walk, frame: _pointing(walk, frame).proposal(assignment))
    change: Change = proposal.change
    number = "nan" if change.number is not None and change.number != change.number else change.number
    told: dict[str, Any] = {"kind": change.kind, "number": number, "tokens": change.tokens or None}
    told["tensor"] = None if change.tensor is None else change.tensor.tolist()
    assert {name: value for name, value in told.items() if value is not None} == expected
    assert proposal.steps == ("onwards" if isinstance(proposal.target, StoredValue | Option) else "this")


FUNCTIONS: list[tuple[str, Any, str]] = [
    ("zero(1)", ModuleValue(LAYER), "zero"),
    ("zero(-1)", ModuleValue(LAYER), "zero"),
    ("zero('*.mlp', positions=[2], neurons=5)", ModuleValue("*.mlp", selection=Selection(None, (2,), (5,))), "zero"),
    ("zero('.', index=(0, 1))", ModuleValue("", selection=Selection(index=(0, 1))), "zero"),
    ("scale(model.model.layers[0].mlp, 2)", ModuleValue("model.layers.0.mlp"), "scale"),
    ("noise(0, 0.5, value='input', part='hidden_states')", ModuleValue(FIRST, "input", "hidden_states"), "noise"),
    ("clamp(0, high=1, sequences=1)", ModuleValue(FIRST, selection=Selection((1,))), "clamp"),
    ("steer(0, [1.0] * 48, 3)", ModuleValue(FIRST), "steer"),
    ("project_out(0, [1.0] * 48)", ModuleValue(FIRST), "projectOut"),
    ("skip(0)", ModuleValue(FIRST), "skip"),
    ("mean(0)", ModuleValue(FIRST), "mean"),
    ("resample(0, seed=3)", ModuleValue(FIRST), "resample"),
    ("ablate(0)", ModuleValue(FIRST), "zero"),
    ("ablate(0, neuron=[1, 2])", ModuleValue(FIRST, selection=Selection(None, None, (1, 2))), "zero"),
    ("ablate(0, head=1, positions=-1)", AttentionValue(FIRST, "heads", (1,), (-1,)), "zero"),
    ("ablate('*.mlp', expert=2)", Expert("*.mlp", 2), "zero"),
    ("freeze(0, head=1)", AttentionValue(FIRST, "pattern", (1,)), "freeze"),
    ("patch(0, [0.0], positions=slice(1, 3))", ModuleValue(FIRST, selection=Selection(None, (1, 2))), "patch"),
    ("force(9)", Token(0), "force"),
    ("ban(9, 10)", Logits(), "ban"),
    ("bias(9, 1.5)", Logits(), "bias"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "target", "kind"), FUNCTIONS, ids=[line for line, *_ in FUNCTIONS])
def test_a_named_intervention_proposes_one_edit(line: str, target: Any, kind: str) -> None:
    def evaluated(walk: Walk, frame: Frame) -> object:
        return eval(line, {"torch": torch, "model": walk.loaded.model, **_interventions(walk, frame).names()})

    value = _at_a_layer(evaluated)
    assert isinstance(value, Proposed)
    (proposal,) = value.edits
    assert (proposal.target, proposal.change.kind, proposal.steps) == (target, kind, None)


def test_all_of_them_are_known_by_name() -> None:
    names = _at_a_layer(lambda walk, frame: _interventions(walk, frame).names())
    assert tuple(names) == NAMES
    assert names["undo"](3) == Undone(3)
    assert names["edits"]() == Listed()
    assert [proposal.later for proposal in names["force"](4, 5, 6).edits] == [0, 1, 2]
    with pytest.raises(CannotEdit, match="ablate heads, neurons or an expert, one after the other"):
        names["ablate"](0, head=1, neuron=2)
    with pytest.raises(CannotEdit, match="this module is none of the model's"):
        names["zero"](torch.nn.Linear(2, 2))


def test_the_mean_is_that_of_the_positions_of_the_prompt_that_are_no_padding() -> None:
    model, mask = tiny_model("llama"), torch.ones_like(PROMPTS)
    mask[1, :2] = 0
    seen: list[torch.Tensor] = []

    def hook(_module: Any, _args: Any, output: torch.Tensor) -> None:
        seen.append(output.clone())

    def look(walk: Walk, stop: Stop) -> None:
        sources = Sources(_top(walk, stop), walk.anatomy, walk.vocabulary)
        for kind in ("mean", "resample"):
            ((_, change),) = sources.found(ModuleValue(FIRST, selection=Selection(neurons=(3, 5))), Change(kind))
            assert change.tensor is not None
            rows = torch.cat([seen[0][0], seen[0][1, 2:]])[:, [3, 5]]
            assert torch.equal(change.tensor, rows)
        assert len(sources.found(ModuleValue("*.layers.*"), Change("mean"))) == 2, "each has its own"

    handle = model.model.layers[0].register_forward_hook(hook)
    try:
        looking(model, "after:model.layers.1", 1, look, attention_mask=mask)
    finally:
        handle.remove()


def test_values_of_an_earlier_step_are_those_that_it_had() -> None:
    model = tiny_model("llama")
    seen: list[torch.Tensor] = []

    def hook(_module: Any, _args: Any, output: torch.Tensor) -> None:
        seen.append(output.clone())

    def look(walk: Walk, stop: Stop) -> None:
        before = len(seen)
        sources = Sources(_top(walk, stop), walk.anatomy, walk.vocabulary)
        target = ModuleValue(FIRST, selection=Selection(sequences=(1,), positions=(-1,)))
        ((_, change),) = sources.found(target, Change("patch", source=Source(step=1)))
        assert torch.equal(_tensor(change), seen[1][1:, -1:])
        ((_, change),) = sources.found(target, Change("patch", source=Source(step=0, positions=(2,))))
        assert torch.equal(_tensor(change), seen[0][1:, 2:3])
        assert len(seen) > before
        with pytest.raises(CannotEdit, match="step 3 has not run yet: the run stands at 2"):
            sources.found(target, Change("patch", source=Source(step=3)))
        with pytest.raises(CannotEdit, match="no position 3 there: it has 6 to 6"):
            sources.found(target, Change("patch", source=Source(step=1, positions=(3,))))
        with pytest.raises(CannotEdit, match="there is no tokenizer"):
            sources.found(target, Change("patch", source=Source(prompt="one")))

    handle = model.model.layers[0].register_forward_hook(hook)
    try:
        looking(model, "after:model.layers.1", 2, look)
    finally:
        handle.remove()


def _tensor(change: Change) -> torch.Tensor:
    assert change.tensor is not None
    return change.tensor


def _at_a_layer(look: Callable[[Walk, Frame], Any]) -> Any:
    """What a look gives in the frame of a layer that has run, in step 1."""
    found: list[Any] = []
    looking(tiny_model("llama"), f"after:{LAYER}", 1, lambda walk, stop: found.append(look(walk, _top(walk, stop))))
    return found[0]


def _top(walk: Walk, stop: Stop) -> Frame:
    return CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)[0]


def _interventions(walk: Walk, frame: Frame) -> Interventions:
    return Interventions(frame, walk.anatomy, walk.vocabulary)


def _pointing(walk: Walk, frame: Frame) -> Pointing:
    evaluator = Evaluator(walk.anatomy, None, walk.scopes.locals)
    return Pointing(
        frame,
        lambda text: evaluator.hover(text, frame),
        lambda text: evaluator.evaluate(text, frame),
        walk.anatomy,
        walk.vocabulary,
    )
