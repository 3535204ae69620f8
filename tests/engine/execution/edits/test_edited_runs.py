"""A run with edits is, to the last bit, one in which the same is changed by hand; without them it is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.modules import module as torch_modules

from dap_server.engine.execution.edits.edit import Logits, ModuleValue, Token
from dap_server.engine.execution.edits.selection import Selection
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.execution.capturing import CaptureProbe
from tests.engine.execution.edits.sessions import Session, by_hand, edit, editing, go_on, output, plain, same_run
from tests.engine.execution.straight import same
from tests.models.tiny import tiny_model

SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.3}
GREEDY: dict[str, Any] = {"do_sample": False}


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


def edited(model: Any, at: str, *edits: Any, step: int = 0, **options: Any) -> tuple[Session, Any]:
    """A run that is edited where it first stops in a step."""
    session = Session(model, [editing(*edits)], at, step=step)
    return session, session.run(**options)


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_what_a_layer_returns_is_changed_in_every_step_from_here_on(llama: Any, options: dict[str, Any]) -> None:
    _, result = edited(llama, "model.layers.1", edit(output("model.layers.1"), "scale", number=0.5), **options)
    with by_hand(llama.model.layers[1], lambda _step, value: value * 0.5):
        assert same_run(result, plain(llama, **options))
    assert not same_run(result, plain(llama, **options))


def test_an_edit_is_in_force_from_its_first_step_to_its_last(llama: Any) -> None:
    _, result = edited(llama, "step", edit(output("model.layers.0"), "zero", 2, 3), step=2, **SAMPLED)
    with by_hand(llama.model.layers[0], lambda step, value: value * 0 if step in (2, 3) else value):
        assert same_run(result, plain(llama, **SAMPLED))


def test_what_a_layer_is_given_is_changed(llama: Any) -> None:
    target = ModuleValue("model.layers.1.mlp", "input", selection=Selection(positions=(4,), sequences=(1,)))
    _, result = edited(llama, "model.layers.1", edit(target, "set", number=2.0), **SAMPLED)

    def change(step: int, value: Tensor) -> Tensor:
        value = value.clone()
        if step == 0:
            value[1, 4] = 2.0
        return value

    with by_hand(llama.model.layers[1].mlp, change, of_input=True):
        assert same_run(result, plain(llama, **SAMPLED))


def test_a_glob_names_every_layer(llama: Any) -> None:
    _, result = edited(llama, "step", edit(output("*.layers.*.self_attn"), "scale", number=0.9), **GREEDY)
    half = lambda _step, value: value * 0.9  # noqa: E731
    with by_hand(llama.model.layers[0].self_attn, half), by_hand(llama.model.layers[1].self_attn, half):
        assert same_run(result, plain(llama, **GREEDY))


def test_a_position_is_the_same_token_in_every_step(llama: Any) -> None:
    _, result = edited(llama, "step", edit(output("model.layers.0", positions=(8,)), "zero"), **GREEDY)
    with by_hand(llama.model.layers[0], lambda step, value: value * 0 if step == 3 else value):  # 6 tokens in step 0
        assert same_run(result, plain(llama, **GREEDY))


def test_the_run_stands_where_it_stood_and_shows_what_became_of_it(llama: Any) -> None:
    seen: list[Tensor] = []

    def change(session: Session, stop: Stop) -> None:
        seen.append(stop.output.clone())
        session.edit(stop, edit(output("model.layers.1"), "scale", 2, number=3.0))

    def look(_session: Session, stop: Stop) -> Motion:
        seen.append(stop.output.clone())
        return Motion.RUN

    session = Session(llama, [go_on, go_on, change, look], "after:model.layers.1")
    session.run(**GREEDY)
    assert session.stops[2] == "function breakpoint: after model.layers.1 in step 2"
    assert session.stops[3] == "goto: after model.layers.1 in step 2"
    assert torch.equal(seen[1], seen[0] * 3.0)


def test_logits_are_biased_and_tokens_banned(llama: Any) -> None:
    def change(_step: int, value: Any) -> Any:
        value.logits[..., -1, 7] += 1e9
        return value

    _, biased = edited(llama, "logits", edit(Logits(), "bias", tokens=(7,), number=1e9), **SAMPLED)
    handle = llama.register_forward_hook(lambda _m, _a, value: change(0, value))
    expected = plain(llama, **SAMPLED)
    handle.remove()
    assert (biased.sequences[:, 6:] == 7).all()
    assert same_run(biased, expected)
    _, banned = edited(llama, "step", edit(Logits(), "ban", tokens=tuple(range(50, 96))), **SAMPLED)
    assert (banned.sequences[:, 6:] < 50).all()


def test_a_forced_token_is_drawn_first_so_that_later_steps_draw_the_same_numbers(llama: Any) -> None:
    before = plain(llama, **SAMPLED)
    drawn = int(before.sequences[0, 6 + 2])
    _, same_token = edited(llama, "sample", edit(Token(0), "force", 2, 2, tokens=(drawn,)), step=2, **SAMPLED)
    assert same_run(same_token, before)
    _, forced = edited(llama, "sample", edit(Token(0), "force", 2, 2, tokens=(5,)), step=2, **SAMPLED)
    assert forced.sequences[0, : 6 + 3].tolist() == [*before.sequences[0, : 6 + 2].tolist(), 5]
    assert torch.equal(forced.sequences[1], before.sequences[1])  # its numbers are its own


def everything_of(stop: Stop, path: str, step: int) -> Any:
    assert stop.generation.tape is not None
    probe = CaptureProbe({(path, 0)})
    stop.generation.tape.replay(step, probe)
    return probe.found[path, 0]


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_an_edit_at_the_end_begins_a_branch_and_undoing_it_leads_back(llama: Any, options: dict[str, Any]) -> None:
    texts: list[Any] = []

    def change(session: Session, stop: Stop) -> None:
        texts.append(stop.generation.input_ids)
        session.edit(stop, edit(output("model.layers.0"), "zero", 2))

    def undo(session: Session, stop: Stop) -> None:
        assert [branch.id for branch in stop.generation.branches.all] == [1, 2]
        texts.append(stop.generation.input_ids)
        session.put(stop, stop.generation.edits.without(1))

    session = Session(llama, [change, go_on, undo])
    result = session.run(**options)
    assert same_run(result, plain(llama, **options))
    assert session.stops == [
        "pause: end of the generation",
        "goto: step 2",
        "pause: end of the generation",
        "goto: step 2",
        "pause: end of the generation",
    ]
    with by_hand(llama.model.layers[0], lambda step, value: value * 0 if step >= 2 else value):
        assert torch.equal(texts[1], plain(llama, **options).sequences)
    assert torch.equal(texts[0], result.sequences)


def test_a_look_at_an_earlier_step_is_one_with_its_edits(llama: Any) -> None:
    path = "model.layers.1"
    seen: list[Any] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output("model.layers.0"), "zero", 2, 3))

    def look(_session: Session, stop: Stop) -> Motion:
        seen.extend(everything_of(stop, path, step) for step in range(6))
        return Motion.RUN

    Session(llama, [change, go_on, look]).run(**SAMPLED)
    live: list[Tensor] = []
    handle = llama.model.layers[1].register_forward_hook(lambda _m, args, out: live.append(out.clone()))
    with by_hand(llama.model.layers[0], lambda step, value: value * 0 if step in (2, 3) else value):
        plain(llama, **SAMPLED)
    handle.remove()
    assert same([captured.output for captured in seen], live)
    assert not seen[2].args[0].any()  # what layer 1 is given there


def test_what_would_be_is_seen_without_being_so(llama: Any) -> None:
    supposed: list[Tensor] = []

    def suppose(session: Session, stop: Stop) -> Motion:
        generation = stop.generation
        assert generation.tape is not None
        other = generation.branches.supposing(generation.edits.plus([edit(output("model.layers.0"), "zero", 1)]))
        for step in range(6):
            selection = generation.tape.replay(step, supposing=other)
            assert selection is not None
            supposed.append(selection.logits)
        return Motion.RUN

    session = Session(llama, [suppose])
    assert same_run(session.run(**SAMPLED), plain(llama, **SAMPLED))
    with by_hand(llama.model.layers[0], lambda step, value: value * 0 if step >= 1 else value):
        assert same(supposed, list(plain(llama, **SAMPLED).logits))


def test_what_does_not_fit_leaves_the_value_and_is_told(llama: Any) -> None:
    problems: list[dict[int, str]] = []

    def change(session: Session, stop: Stop) -> None:
        wrong = edit(output("model.layers.0"), "steer", tensor=torch.ones(5))
        session.edit(stop, wrong)

    def look(_session: Session, stop: Stop) -> Motion:
        problems.append(stop.generation.branches.outcomes.problems)
        return Motion.RUN

    session = Session(llama, [change, look], "after:model.layers.0")
    assert same_run(session.run(**GREEDY), plain(llama, **GREEDY))
    assert "does not fit" in problems[0][1]


def test_nothing_stays_on_the_model(llama: Any) -> None:
    edited(llama, "model.layers.1", edit(output("*.layers.*"), "scale", number=0.5), **GREEDY)
    assert not torch_modules._global_forward_hooks
    assert not torch_modules._global_forward_pre_hooks
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.modules())
