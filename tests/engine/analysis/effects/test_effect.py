"""The effect of edits against plain `generate` with hooks of the test, and against arithmetic in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.analysis.answers import Answers
from dap_server.engine.analysis.effects.effect import Effect, effect_of
from dap_server.engine.analysis.effects.wording import UNASKED_POSITIONS, effect_lines, unasked_lines
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.edits.edit import Edit, Logits, ModuleValue, StoredValue, Token
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import Selection
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.modelmap.places import END
from tests.engine.execution.edits.sessions import Session, asked, by_hand, edit, output, plain, same_run
from tests.engine.walk import Walk
from tests.models.tiny import tiny_model

GREEDY: dict[str, Any] = {"do_sample": False}
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.3}


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


def effects(
    model: Any, *edits: Edit, at: int = 0, of: int | None = None, sequence: int | None = None, **options: Any
) -> tuple[Effect, list[str]]:
    """What edits would do at a stop in a step; the run is none the wiser."""
    found: list[tuple[Effect, list[str]]] = []

    def look(session: Session, stop: Stop) -> Motion:
        generation = stop.generation
        new = generation.edits.plus(generation.branches.numbered(edits))
        effect = effect_of(generation, session.anatomy, generation.edits, new, of, sequence)
        assert effect is not None
        found.append((effect, effect_lines(effect, Answers(session.anatomy, session.vocabulary))))
        return Motion.RUN

    session = Session(model, [look], "sample", step=at)
    assert same_run(session.run(**options), plain(model, **options))
    assert not session.finished_with or not session.finished_with.edits
    return found[0]


def hidden(model: Any, run: Callable[[], Any], step: int) -> list[Tensor]:
    """What every layer returns in a step, by hooks behind those of the run."""
    seen: list[list[Tensor]] = [[] for _ in model.model.layers]
    handles = [
        layer.register_forward_hook(lambda _m, _a, out, kept=kept: kept.append(out.clone()))
        for layer, kept in zip(model.model.layers, seen, strict=True)
    ]
    run()
    for handle in handles:
        handle.remove()
    return [kept[step] for kept in seen]


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("step", [0, 3])
def test_numbers_are_those_of_two_plain_runs(llama: Any, step: int, options: dict[str, Any]) -> None:
    found, _ = effects(llama, edit(output("model.layers.0"), "scale", step, number=1.5), at=4, sequence=1, **options)
    old = plain(llama, **options)
    old_hidden = hidden(llama, lambda: plain(llama, **options), step)
    change = lambda now, value: value * 1.5 if now >= step else value  # noqa: E731
    with by_hand(llama.model.layers[0], change):
        new = plain(llama, **options)
    with by_hand(llama.model.layers[0], change):
        new_hidden = hidden(llama, lambda: plain(llama, **options), step)
    p, q = (torch.softmax(result.logits[step][1].double(), -1) for result in (old, new))
    assert (found.step, found.sequence, found.reach) == (step, 1, "logits")
    assert found.logits.kl == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-9)
    assert found.logits.total_variation == pytest.approx(float((p - q).abs().sum() / 2), rel=1e-9)
    assert [one.id for one in found.top] == [int(p.argmax()), int(q.argmax())]
    assert [one.probability for one in found.top] == pytest.approx([float(p.max()), float(q.max())])
    assert found.chosen == tuple(int(result.sequences[1, 6 + step]) for result in (old, new))
    assert found.movement is not None
    assert not found.movement.relative[0].any()
    for moved, before, after in zip(found.movement.relative[1:], old_hidden, new_hidden, strict=True):
        first = 0 if step else 2  # padding
        expected = (after[1].double() - before[1].double()).norm(dim=-1) / before[1].double().norm(dim=-1)
        assert torch.allclose(moved, expected[first:], rtol=1e-9, atol=0)
    assert found.movement.paths == ["", "model.layers.0", "model.layers.1"]
    assert (found.movement.first, found.movement.died_out) == (1, None)


def test_a_later_step_is_read_along_the_same_text(llama: Any) -> None:
    zero = edit(output("model.layers.0", positions=(3,)), "zero", 0, 0)
    found, _ = effects(llama, zero, at=4, of=4, sequence=0, **GREEDY)
    text = plain(llama, **GREEDY).sequences[:, : 6 + 4]
    given = asked()
    mask = torch.cat([given["attention_mask"], torch.ones(2, 4, dtype=torch.long)], dim=1)

    def change(_step: int, value: Tensor) -> Tensor:
        value = value.clone()
        value[:, 3] = 0
        return value

    with torch.no_grad():
        before = llama(text, attention_mask=mask).logits[0, -1]
        with by_hand(llama.model.layers[0], change):
            after = llama(text, attention_mask=mask).logits[0, -1]
    p, q = (torch.softmax(logits.double(), -1) for logits in (before, after))
    assert found.step == 4
    assert found.logits.kl == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-3)  # all at once rounds otherwise


def test_the_sequence_that_is_changed_most_is_told_of(llama: Any) -> None:
    found, lines = effects(llama, edit(output("model.layers.0", sequences=(1,)), "zero"), **GREEDY)
    assert found.sequence == 1
    assert lines[0].startswith("effect in step 0 of sequence 2: ")


def test_an_edit_that_changes_no_number_is_without_effect(llama: Any) -> None:
    found, lines = effects(llama, edit(output("model.layers.0"), "scale", number=1.0), **GREEDY)
    assert (found.reach, found.unmet) == ("nothing", [])
    assert lines == ["effect in step 0: none, all that is compared is the same to the last bit"]


def test_an_edit_of_a_position_that_a_step_has_not_got_says_so(llama: Any) -> None:
    wanted = edit(output("model.layers.0", positions=(2,)), "zero", 2)
    found, lines = effects(llama, wanted, at=2, **GREEDY)
    assert (found.reach, found.unmet) == ("nothing", [1])
    assert lines[1] == "edit 1 has nothing to change in step 2"


def test_the_last_layer_at_an_earlier_position_does_not_reach_the_token(llama: Any) -> None:
    found, lines = effects(llama, edit(output("model.layers.1", positions=(3,)), "zero"), **GREEDY)
    assert found.reach == "layers"
    assert lines[0].endswith("the residual stream moved from model.layers.1 on, and not at the last position")


def test_an_effect_dies_out_where_layers_are_put_back(llama: Any) -> None:
    kept = hidden(llama, lambda: plain(llama, **GREEDY), 0)[1]
    found, lines = effects(
        llama,
        edit(output("model.layers.0"), "scale", 0, 0, number=3.0),
        edit(output("model.layers.1"), "patch", 0, 0, tensor=kept),
        **GREEDY,
    )
    assert found.reach == "layers"
    assert found.movement is not None
    assert found.movement.died_out == 2
    assert "moved from model.layers.0 on, and the effect died out in model.layers.1" in lines[0]


def test_a_forced_token_is_another_choice_from_the_same_logits(llama: Any) -> None:
    drawn = int(plain(llama, **GREEDY).sequences[0, 6 + 1])
    other = (drawn + 1) % 90
    found, lines = effects(llama, edit(Token(0), "force", 1, 1, tokens=(other,)), at=1, **GREEDY)
    assert (found.reach, found.chosen) == ("choice", (drawn, other))
    assert lines == [
        f"effect in step 1: the token is '<{other}>' instead of '<{drawn}>' · the logits of the model are the same"
    ]


def test_banning_a_token_is_infinitely_far_and_moves_no_layer(llama: Any) -> None:
    likely = int(plain(llama, **GREEDY).logits[0][0].argmax())
    found, lines = effects(llama, edit(Logits(), "ban", tokens=(likely,)), sequence=0, **GREEDY)
    assert found.top[0].id == likely != found.top[1].id
    assert "KL infinite" in lines[0]
    assert lines[0].endswith("no layer's output moved")


def test_values_far_outside_of_the_range_of_their_place_are_told(llama: Any) -> None:
    own = hidden(llama, lambda: plain(llama, **GREEDY), 0)[0].double()
    found, lines = effects(llama, edit(output("model.layers.0", positions=(3,)), "scale", number=100.0), **GREEDY)
    (outlier,) = found.outliers
    assert (outlier.edit, outlier.where) == (1, "model.layers.0")
    assert outlier.own.norm == pytest.approx(float(own.norm(dim=-1).max()))
    assert outlier.own.largest == pytest.approx(float(own.abs().max()))
    assert outlier.new.norm == pytest.approx(100 * float(own[:, 3].norm(dim=-1).max()))
    assert "far outside of the range of its place" in lines[1]
    modest, _ = effects(llama, edit(output("model.layers.0", positions=(3,)), "scale", number=1.1), **GREEDY)
    assert not modest.outliers


def test_what_is_given_is_measured_too(llama: Any) -> None:
    target = ModuleValue("model.layers.1.mlp", "input", selection=Selection(positions=(4,)))
    found, _ = effects(llama, edit(target, "set", number=1e4), **GREEDY)
    assert [(one.where, one.new.largest) for one in found.outliers] == [("model.layers.1.mlp", 1e4)]


@pytest.mark.parametrize("step", [0, 2])
def test_a_weight_is_changed_for_the_look_alone(llama: Any, step: int) -> None:
    weight = llama.model.layers[0].mlp.up_proj.weight
    own = weight.detach().clone()
    stored = StoredValue("parameter", "model.layers.0.mlp.up_proj.weight")
    found, _ = effects(llama, edit(stored, "scale", step, number=30.0), at=3, sequence=0, **GREEDY)
    assert torch.equal(weight, own)
    old = plain(llama, **GREEDY).logits[step][0].double()
    with by_hand(llama.model.layers[0].mlp.up_proj, lambda now, value: value * 30.0 if now >= step else value):
        new = plain(llama, **GREEDY).logits[step][0].double()
    p, q = (torch.softmax(logits, -1) for logits in (old, new))
    assert found.logits.kl == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4)
    (outlier,) = found.outliers
    assert outlier.where == "model.layers.0.mlp.up_proj.weight"
    assert outlier.factor == pytest.approx(30.0)
    assert outlier.own.largest == pytest.approx(float(own.abs().max()))


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_what_is_not_finite_is_told_and_draws_nothing(llama: Any, options: dict[str, Any]) -> None:
    found, lines = effects(llama, edit(output("model.layers.0"), "set", number=float("nan")), **options)
    assert found.reach == "logits"
    assert "the logits are not finite any more" in lines[0]
    assert "values of model.layers.0 are not finite" in lines[1]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.0, "there from zero at the last position"), (float("nan"), "the logits are finite again, with")],
)
def test_what_is_undone_is_not_warned_of(llama: Any, number: float, expected: str) -> None:
    undone = [
        edit(output("model.layers.1"), "set", number=number),
        edit(output("model.layers.0"), "steer", tensor=torch.ones(5)),
        edit(output("model.layers.0", positions=(99,)), "zero"),
    ]

    def look(session: Session, stop: Stop) -> Motion:
        generation = stop.generation
        edits = Edits(tuple(generation.branches.numbered(undone)))
        effect = effect_of(generation, session.anatomy, edits, Edits())
        assert effect is not None
        (line,) = effect_lines(effect, Answers(session.anatomy, session.vocabulary))
        assert expected in line
        return Motion.RUN

    Session(llama, [look], "sample").run(**GREEDY)


def test_an_edit_that_does_not_fit_is_told_with_the_reason(llama: Any) -> None:
    _, lines = effects(llama, edit(output("model.layers.0"), "steer", tensor=torch.ones(5)), **GREEDY)
    assert "edit 1 is not applied: " in lines[1]


@pytest.mark.parametrize("name", ["gpt2", "mamba", "t5", "mistral", "qwen3_moe"])
def test_other_architectures_have_effects_and_run_on_as_before(name: str) -> None:
    model = tiny_model(name)
    path = Session(model, []).anatomy.stacks[-1][0]
    options = {"attention_mask": None, "input_ids": asked()["input_ids"][:1].clamp_min(3), **GREEDY}
    found, _ = effects(model, edit(output(path), "scale", 2, number=2.0), at=3, **options)
    assert found.reach == "logits"
    assert found.movement is not None
    assert found.movement.first == 1


def of_call(
    model: Any, call: Callable[[], Any], is_forward: bool, ids: Tensor, *edits: Edit
) -> tuple[Effect, list[str]]:
    """The same at the end of another loop than ours, or of one forward."""
    found: list[tuple[Effect, list[str]]] = []

    def look(stop: Stop) -> Motion:
        if stop.place.path == END:
            new = generation.edits.plus(generation.branches.numbered(edits))
            effect = effect_of(generation, walk.anatomy, generation.edits, new)
            assert effect is not None
            found.append((effect, effect_lines(effect, Answers(walk.anatomy, walk.vocabulary))))
        return Motion.RUN

    walk, generation = Walk(Loaded(model, None), look), Generation(input_ids=ids, is_forward=is_forward)
    try:
        WholeCall(walk.stepper, generation, model.device, call, lambda _result: walk.stepper.at_end()).run()
    finally:
        walk.stepper.end()
    return found[0]


def test_of_another_loop_the_beam_is_told_of_that_is_changed_most(llama: Any) -> None:
    given = asked(num_beams=2, do_sample=False, output_logits=False)
    zero = edit(output("model.layers.0", sequences=(3,)), "zero", 1)
    found, lines = of_call(llama, lambda: llama.generate(**given), False, given["input_ids"], zero)
    assert (found.step, found.sequence, found.reach) == (1, 1, "logits")
    assert (found.chosen, found.drawn, found.position) == (None, None, None)
    assert lines[0].startswith("effect in step 1 of sequence 2: ")


def test_of_one_forward_the_position_is_told_of_that_is_changed_most() -> None:
    model = tiny_model("bert", "masked")
    ids = asked()["input_ids"]
    path = "bert.encoder.layer.1"
    wanted = edit(output(path, positions=(3,), sequences=(0,)), "zero")
    found, lines = of_call(model, lambda: model(ids), True, ids, wanted)
    with torch.no_grad():
        before = model(ids).logits[0, 3].double()
        with by_hand(
            model.get_submodule(path),
            lambda _step, value: torch.cat([value[:, :3], value[:, 3:4] * 0, value[:, 4:]], 1),
        ):
            after = model(ids).logits[0, 3].double()
    p, q = torch.softmax(before, -1), torch.softmax(after, -1)
    assert (found.sequence, found.position) == (0, 3)
    assert found.logits.kl == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-6)
    assert "at position 3" in lines[0]


def test_lists_that_are_equal_or_differ_in_the_future_alone_have_no_effect_yet(llama: Any) -> None:
    told: list[Any] = []

    def look(session: Session, stop: Stop) -> Motion:
        generation, answers = stop.generation, Answers(session.anatomy, session.vocabulary)
        told.append(effect_of(generation, session.anatomy, generation.edits, generation.edits))
        later = generation.edits.plus([edit(output("model.layers.0"), "zero", 3)])
        told.append(unasked_lines(stop, session.anatomy, later, answers))
        now = generation.edits.plus([edit(output("model.layers.0"), "zero", 1)])
        told.append(len(unasked_lines(stop, session.anatomy, now, answers)))
        return Motion.RUN

    Session(llama, [lambda _session, _stop: Motion.RUN, look], "sample").run(**GREEDY)
    assert told == [None, [], 1]


def test_in_a_long_forward_it_is_told_only_to_who_asks(llama: Any) -> None:
    told: list[str] = []

    def look(session: Session, stop: Stop) -> Motion:
        zero = stop.generation.edits.plus([edit(output("model.layers.0"), "zero")])
        told.extend(unasked_lines(stop, session.anatomy, zero, Answers(session.anatomy, session.vocabulary)))
        return Motion.RUN

    ids = torch.full((1, UNASKED_POSITIONS + 1), 5)
    Session(llama, [look], "sample").run(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=1)
    assert told == ["effect in step 0: ask for it, since it takes two forwards over 257 positions"]
