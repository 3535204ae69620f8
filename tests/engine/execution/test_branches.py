"""The future that an edit changes is kept as a branch: it is found again as it was left, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dap_server.engine.execution.branches import NoSuchBranch
from dap_server.engine.execution.edits.edit import StoredValue, Token
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.modelmap.places import STEP, Place
from tests.engine.execution.capturing import CaptureProbe
from tests.engine.execution.edits.sessions import Answer, Session, edit, go_on, output, plain, same_run
from tests.engine.execution.straight import same
from tests.models.tiny import tiny_model

SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.3}
MODELS = ["llama", "gemma2", "falcon_h1", "bart"]


def force(step: int, token: int) -> Any:
    return edit(Token(0), "force", step, step, tokens=(token,))


def activations(stop: Stop) -> list[Any]:
    """What every module gave in every step, and the choices of the tokens."""
    tape: Any = stop.generation.tape
    found = []
    for step in range(6):
        selection = tape.replay(step)
        found.append([selection.logits, selection.tokens])
        probe = CaptureProbe({("lm_head", 0)})
        tape.replay(step, probe)
        found.append([probe.found["lm_head", 0].args, probe.found["lm_head", 0].output])
    return found


def switch_to(id: int) -> Answer:
    def switch(session: Session, stop: Stop) -> None:
        branch = stop.generation.branches.of(id)
        turn = stop.generation.branches.turn_to(branch, stop.place)
        session.stepper.turn(turn, branch.left, branch.name)

    return switch


@pytest.mark.parametrize("name", MODELS)
def test_switching_back_finds_the_first_branch_as_it_was(name: str) -> None:
    model = tiny_model(name)
    seen: dict[str, Any] = {}

    def first(session: Session, stop: Stop) -> None:
        seen["first"] = activations(stop), stop.generation.input_ids
        session.edit(stop, force(3, 5))

    def second(session: Session, stop: Stop) -> None:
        seen["second"] = activations(stop), stop.generation.input_ids
        switch_to(1)(session, stop)

    def again(session: Session, stop: Stop) -> None:
        assert stop.generation.branches.present.id == 1
        assert same(activations(stop), seen["first"][0])
        assert torch.equal(stop.generation.input_ids, seen["first"][1])  # type: ignore[arg-type]
        assert stop.generation.diverged_at is None
        switch_to(2)(session, stop)

    def second_again(_session: Session, stop: Stop) -> Motion:
        assert same(activations(stop), seen["second"][0])
        assert stop.generation.diverged_at is None
        return Motion.RUN

    session = Session(model, [first, go_on, second, again, second_again])
    result = session.run(**SAMPLED)
    assert (
        session.stops
        == ["pause: end of the generation", "goto: step 3", *["pause: end of the generation"] * 1]
        + ["goto: end of the generation"] * 2
    )
    assert torch.equal(result.sequences, seen["second"][1])
    assert int(seen["second"][1][0, -3]) == 5
    assert torch.equal(seen["first"][1], plain(model, **SAMPLED).sequences)


def test_the_tree_tells_who_left_whom_and_where() -> None:
    told: list[Any] = []

    def look(_session: Session, stop: Stop) -> Motion:
        branches = stop.generation.branches
        told.extend((b.id, b.name, b.parent, b.fork_step, len(b.records), str(b.left)) for b in branches.all)
        with pytest.raises(NoSuchBranch, match="the present one"):
            branches.delete(3)
        branches.delete(2)
        told.append([(b.id, b.parent, b.fork_step) for b in branches.all])
        with pytest.raises(NoSuchBranch, match="there is no branch 2: there are 1, 3"):
            branches.of(2)
        return Motion.RUN

    def first(session: Session, stop: Stop) -> None:
        session.edit(stop, force(3, 5))

    def second(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output("model.layers.0"), "zero", 4))

    model = tiny_model("llama")
    Session(model, [first, go_on, second, look]).run(**SAMPLED)
    assert told == [
        (1, "branch 1", None, 0, 6, "end of the generation"),
        (2, "branch 2", 1, 3, 6, "end of the generation"),
        (3, "branch 3", 2, 4, 4, "None"),
        [(1, None, 0), (3, 1, 3)],
    ]


def test_an_edit_of_the_present_step_begins_no_branch_while_its_token_is_open() -> None:
    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, force(2, 5))

    def look(_session: Session, stop: Stop) -> Motion:
        assert [branch.id for branch in stop.generation.branches.all] == [1]
        return Motion.RUN

    model = tiny_model("llama")
    session = Session(model, [go_on, go_on, change, look], "sample")
    result = session.run(**SAMPLED)
    assert int(result.sequences[0, 8]) == 5
    assert session.stops[2:4] == ["function breakpoint: before sample in step 2", "goto: before sample in step 2"]


def test_what_was_heard_of_a_step_is_heard_again_from_where_a_branch_begins() -> None:
    turned: list[int] = []

    def change(session: Session, stop: Stop) -> None:
        session.stepper.turned = lambda generation: turned.append(generation.step)
        session.edit(stop, force(3, 5))

    model = tiny_model("llama")
    session = Session(model, [change])
    result = session.run(**SAMPLED)
    assert turned == [3]
    assert torch.equal(torch.stack([*session.heard[:3], *session.heard[6:]], dim=1), result.sequences[:, 6:])


def test_a_weight_is_switched_with_its_branch() -> None:
    model = tiny_model("llama")
    own = model.model.norm.weight.detach().clone()
    seen: list[Any] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(StoredValue("parameter", "model.norm.weight"), "scale", 2, number=3.0))

    def look(session: Session, stop: Stop) -> None:
        seen.append(torch.equal(model.model.norm.weight, own * 3.0))
        switch_to(1)(session, stop)

    def back(session: Session, stop: Stop) -> Motion:
        seen.append(torch.equal(model.model.norm.weight, own))
        return Motion.RUN

    result = Session(model, [change, go_on, look, back]).run(**SAMPLED)
    assert seen == [True, True]
    assert same_run(result, plain(model, **SAMPLED))


def test_a_branch_may_begin_after_the_step_that_the_run_has_gone_back_to() -> None:
    def back(session: Session, stop: Stop) -> None:
        session.stepper.travel(Place(1, STEP), "goto")

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, force(3, 5))

    def look(session: Session, stop: Stop) -> Motion:
        branches = stop.generation.branches
        assert [(b.id, b.fork_step, len(b.records)) for b in branches.all] == [(1, 0, 6), (2, 3, 3)]
        return Motion.RUN

    def switch(session: Session, stop: Stop) -> None:
        switch_to(1)(session, stop)

    model = tiny_model("llama")
    session = Session(model, [back, change, look, switch, back])
    result = session.run(**SAMPLED)
    assert session.stops == [
        "pause: end of the generation",
        "goto: step 1",
        "goto: step 1",
        "pause: end of the generation",
        "goto: step 1",
        "goto: step 1",
        "pause: end of the generation",
    ]
    assert same_run(result, plain(model, **SAMPLED))
