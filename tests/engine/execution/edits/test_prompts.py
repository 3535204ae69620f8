"""Another prompt as an edit: its run is that of `generate` on it, to the last bit, and the old one is found again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dap_server.engine.analysis.effects.running import StepProbe
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.edits.edit import StoredValue, Token
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.scopes import TokenRows
from dap_server.modelmap.places import STEP, Place
from tests.engine.execution.edits.prompted import Prompted, plain, prompt, switch_to, tiny
from tests.engine.execution.edits.sessions import Session, by_hand, edit, editing, go_on, output
from tests.engine.execution.straight import same, state_of
from tests.models.tiny import tiny_model

FRANCE, JAPAN = "The capital of France is", "The capital of Japan is Tokyo. The currency of Japan is"
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True, "temperature": 2.5},
    "static cache": {"cache_implementation": "static", "do_sample": True, "temperature": 2.5},
    "beams": {"num_beams": 3},
    "beams, sampled": {"num_beams": 2, "do_sample": True},
}
EIGHT = {"max_new_tokens": 8, "min_new_tokens": 8}


def noting(found: list[Any], then: Any) -> Any:
    """Notes the text and what every step has chosen, and answers with another answer."""

    def note(session: Session, stop: Stop) -> Any:
        assert stop.generation.diverged_at is None
        found.append((stop.generation.input_ids, logits(stop.generation)))
        return then(session, stop)

    return note


def logits(generation: Generation) -> list[Any]:
    tape: Any = generation.tape
    if not generation.is_own_loop:
        return []
    return [tape.replay(step).logits for step in range(len(generation.records))]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_run_is_that_of_generate_on_the_new_prompt(atlas: Loaded, options: dict[str, Any]) -> None:
    """And back and forth between two prompts both are as they were, to the last bit."""
    seen: list[Any] = []
    to_japan = noting(seen, editing(prompt(JAPAN)))
    answers = [to_japan, go_on, noting(seen, switch_to(1)), noting(seen, switch_to(2)), noting(seen, go_on)]
    session = Prompted(atlas, answers, prompt=FRANCE, generation={**EIGHT, **options})
    result = session.go()
    france, japan = (plain(atlas, text, **EIGHT, **options) for text in (FRANCE, JAPAN))
    for (text, _), wanted in zip(seen, [france, japan, france, japan], strict=True):
        assert torch.equal(text, wanted)
    assert same([steps for _, steps in seen[:2]], [steps for _, steps in seen[2:]])
    assert torch.equal(result, japan)
    assert session.stops[0] == session.stops[2] == "pause: end of the generation"
    assert session.stops[3:] == ["goto: end of the generation"] * 2


def test_it_stands_where_it_stood_in_the_first_step_else_at_its_beginning(atlas: Loaded) -> None:
    session = Prompted(
        atlas, [editing(prompt(JAPAN)), go_on, editing(prompt(FRANCE))], "model.layers.3.mlp", prompt=FRANCE,
        generation={"max_new_tokens": 2},
    )  # fmt: skip
    session.go()
    assert session.stops == [
        *["function breakpoint: before model.layers.3.mlp in step 0", "goto: before model.layers.3.mlp in step 0"],
        *["function breakpoint: before model.layers.3.mlp in step 1", "goto: step 0"],
        *[
            "function breakpoint: before model.layers.3.mlp in step 0",
            "function breakpoint: before model.layers.3.mlp in step 1",
        ],
        "pause: end of the generation",
    ]


def test_without_a_seed_all_prompts_draw_the_same_random_numbers(atlas: Loaded) -> None:
    seen: list[Any] = []
    back = [go_on, noting(seen, switch_to(1)), noting(seen, go_on)]
    options = {**EIGHT, "do_sample": True, "temperature": 3.0}
    Prompted(atlas, [noting(seen, editing(prompt(JAPAN))), *back], prompt=FRANCE, seed=None, generation=options).go()
    assert same(seen[0], seen[2])


def test_the_edits_of_the_branch_go_along(atlas: Loaded) -> None:
    """What fits is applied; what does not is noted, and leaves the run as it is."""
    told: list[dict[int, str]] = []

    def note(_session: Session, stop: Stop) -> Motion:
        told.append(stop.generation.branches.outcomes.problems)
        return Motion.RUN

    scaled = edit(output("model.layers.2"), "scale", number=0.5)
    far = edit(output("model.layers.0", index=(0, 5)), "zero", 0, 0)
    session = Prompted(
        atlas, [editing(scaled, far), go_on, editing(prompt("The capital")), note], prompt=FRANCE, generation=EIGHT
    )
    result = session.go()
    with by_hand(atlas.model.model.layers[2], lambda _step, value: value * 0.5):
        assert torch.equal(result, plain(atlas, "The capital", **EIGHT))
    assert list(told[0]) == [2]


def test_edited_parameters_go_along_and_come_back(atlas: Loaded) -> None:
    own = {name: value.clone() for name, value in atlas.model.state_dict().items()}
    name = "model.layers.1.mlp.down_proj.weight"
    change = edit(StoredValue("parameter", name), "scale", 2, number=3.0)
    seen: list[Any] = []
    answers = [editing(change), go_on, noting(seen, editing(prompt(JAPAN))), go_on, noting(seen, switch_to(2))]
    Prompted(atlas, [*answers, noting(seen, go_on)], prompt=FRANCE, generation=EIGHT).go()
    assert same(seen[0], seen[2])
    assert same(dict(atlas.model.state_dict()), own)


def test_a_token_is_forced_in_the_new_prompt_and_one_goes_back_in_it(atlas: Loaded) -> None:
    seen: list[Any] = []

    def back(session: Session, stop: Stop) -> None:
        seen.append([(b.id, b.parent, b.fork_step, len(b.records)) for b in stop.generation.branches.all])
        session.stepper.travel(Place(3, STEP), "step")

    def force(session: Session, stop: Stop) -> None:
        assert stop.place == Place(3, STEP)
        session.edit(stop, edit(Token(), "force", 1, 1, tokens=(5,)))

    answers = [editing(prompt(JAPAN)), go_on, noting(seen, back), force, go_on, noting(seen, switch_to(1))]
    answers += [noting(seen, switch_to(2)), switch_to(3), noting(seen, go_on)]
    session = Prompted(atlas, answers, prompt=FRANCE, generation=EIGHT)
    session.go()
    (japan, _), tree, forced, france, forced_again = seen
    assert tree == [(1, None, 0, 8), (2, 1, 0, 8)]
    assert torch.equal(japan, plain(atlas, JAPAN, **EIGHT))
    assert torch.equal(france[0], plain(atlas, FRANCE, **EIGHT))
    assert same(forced, forced_again)
    assert forced[0][0, japan.shape[1] - 7] == 5
    assert torch.equal(forced[0][0, : japan.shape[1] - 7], japan[0, : japan.shape[1] - 7])


def test_one_text_of_a_batch_is_another(atlas: Loaded) -> None:
    session = Prompted(atlas, [editing(prompt(JAPAN, 1))], prompts=[FRANCE, "The"], generation=EIGHT)
    assert torch.equal(session.go(), plain(atlas, FRANCE, JAPAN, **EIGHT))
    both = Prompted(atlas, [editing(prompt(JAPAN))], prompts=[FRANCE, "The"], generation=EIGHT)
    assert torch.equal(both.go(), plain(atlas, JAPAN, JAPAN, **EIGHT))


def test_of_a_chat_the_last_message_of_the_user_is_another(atlas: Loaded) -> None:
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "The capital of France?"}
    said: list[Any] = []

    def note(_session: Session, stop: Stop) -> Motion:
        said.append(stop.generation.prompts_of(stop.generation.edits))
        return Motion.RUN

    session = Prompted(atlas, [editing(prompt("Japan?")), note], messages=[user, system, user], generation=EIGHT)
    asked = [user, system, {"role": "user", "content": "Japan?"}]
    wanted = Prompted(atlas, [], messages=asked, generation=EIGHT).go()
    assert torch.equal(session.go(), wanted)
    assert said == [["Japan?"]]
    nobody = Prompted(atlas, [], messages=[system], generation=EIGHT).of_launch
    with pytest.raises(CannotEdit, match="no message of a user that is text: restart it"):
        nobody.texts(nobody.branches.present.edits)


def test_an_encoder_reads_the_new_prompt() -> None:
    loaded = tiny(tiny_model("bart"), Task.SEQ2SEQ)
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": True}
    seen: list[Any] = []
    answers = [noting(seen, editing(prompt("one two three"))), go_on, noting(seen, switch_to(1)), noting(seen, go_on)]
    session = Prompted(loaded, answers, prompt=FRANCE, generation=options)
    session.go()
    assert torch.equal(seen[0][0], plain(loaded, FRANCE, **options))
    assert torch.equal(seen[1][0], plain(loaded, "one two three", **options))
    assert same(seen[0], seen[2])


def test_a_model_that_does_not_generate_answers_the_new_prompt() -> None:
    loaded = tiny(tiny_model("bert", "masked"), Task.MASKED)
    answers = [editing(prompt("The [MASK] of Spain is [MASK]")), switch_to(1)]
    session = Prompted(loaded, answers, prompt="one [MASK]")
    session.go()
    assert session.stops == ["pause: end of the generation", *["goto: end of the generation"] * 2]
    first, second, third = session.text.split("[branch ")
    assert second.startswith("2: 'The [MASK] of Spain is [MASK]']\nThe [MASK] of Spain is [MASK]\nmask 1 at position 2")
    assert third == f"1]\n{first}"


def test_the_text_of_another_prompt_begins_a_line_of_its_own(atlas: Loaded) -> None:
    session = Prompted(
        atlas, [editing(prompt(" ".join([JAPAN] * 3))), go_on, switch_to(1)], prompt=FRANCE,
        generation={"max_new_tokens": 2},
    )  # fmt: skip
    session.go()
    first, _, second, _, third = session.text.splitlines()
    assert first == "The capital of France is Paris."
    name, _, text = second.partition("] ")
    assert name == "[branch 2: '…apan is Tokyo. The currency of Japan is'"
    assert text.startswith(f"{JAPAN} {JAPAN} {JAPAN} ")
    assert third == f"[branch 1] {first}"


def test_looks_at_a_branch_of_another_prompt_leave_the_run_as_it_is(atlas: Loaded) -> None:
    """Steps of that branch are run beside this one, along the text that it has."""
    options = {**EIGHT, "do_sample": True, "temperature": 2.5}
    found: list[Any] = []
    seeing = lambda _step: StepProbe(Anatomy(atlas.model))  # noqa: E731

    def look(_session: Session, stop: Stop) -> Motion:
        branches, tape = stop.generation.branches, stop.generation.tape
        assert tape is not None
        before = state_of(tape.cache), torch.get_rng_state()
        parameter = edit(StoredValue("parameter", "model.norm.weight"), "scale", number=2.0)
        tape.replay(1, None, branches.supposing(branches.of(1).edits.plus(branches.numbered([parameter]))))
        other = Branches(branches.of(1))
        tape.follow(range(2, 8), other, seeing, lambda _step, selection: found.append(selection.logits))
        assert same((state_of(tape.cache), torch.get_rng_state()), before)
        return Motion.RUN

    seen: list[Any] = []
    session = Prompted(atlas, [noting(seen, editing(prompt(JAPAN))), look, look], prompt=FRANCE, generation=options)
    assert torch.equal(session.go(), plain(atlas, JAPAN, **options))
    assert same(found, seen[0][1][2:] * 2)


def test_a_prompt_that_generate_does_not_take_is_refused_before_anything_moves() -> None:
    loaded = tiny(tiny_model("llama"))
    refused: list[str] = []

    def look(_session: Session, stop: Stop) -> Motion:
        tape = stop.generation.tape
        assert tape is not None
        with pytest.raises(CannotEdit, match=r"`generate` does not take this prompt: Input length .* is 10") as caught:
            tape.replay(0, None, stop.generation.branches.supposing(Edits((prompt(" ".join(["one"] * 8)),))))
        refused.append(str(caught.value))
        return Motion.RUN

    session = Prompted(loaded, [look], "sample", prompt="one two", generation={"max_length": 8})
    assert torch.equal(session.go(), plain(loaded, "one two", max_length=8))
    assert refused


def test_the_prompt_is_a_row_of_the_tokens(atlas: Loaded) -> None:
    rows: list[Any] = []

    def look(session: Session, stop: Stop) -> Motion:
        frame = CallStack(stop, session.stepper, session.vocabulary, 0).page(0, 1)[0]
        rows.extend(TokenRows(frame, session.vocabulary).named_rows())
        return Motion.RUN

    Prompted(atlas, [look], "step", prompt=FRANCE, generation={"max_new_tokens": 1}).go()
    assert [(row.name, row.value, row.type, row.expression) for row in rows] == [
        ("prompt", "'The capital of France is'", "str", "prompt")
    ]
