"""Edits in another loop than ours, in one forward, in an encoder, and in a prompt that comes in pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.execution.calls.decoding import own_decoding
from dap_server.engine.execution.edits.edit import Logits, ModuleValue, StoredValue, Token
from dap_server.engine.execution.edits.selection import CannotEdit, Selection
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from tests.engine.execution.edits.sessions import Session, asked, by_hand, edit, go_on, output, plain, same_run
from tests.engine.execution.straight import SEED
from tests.models.tiny import tiny_model


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


class WholeSession(Session):
    """The same with a call that is run again from its start."""

    def call(self, function: Any, counts: bool = True) -> Any:
        generation = Generation()
        torch.manual_seed(SEED)

        def finish(_result: Any) -> None:
            generation.is_over = True
            self.stepper.at_end()

        try:
            return WholeCall(self.stepper, generation, self.loaded.model.device, function, finish, counts).run()
        finally:
            self.stepper.end()
            self.stepper.release()


def beams(model: Any) -> Any:
    torch.manual_seed(SEED)
    return model.generate(**asked(num_beams=3, output_logits=False, output_scores=True))


def test_beam_search_runs_with_edits_from_a_step_on(llama: Any) -> None:
    def change(session: Session, stop: Stop) -> None:
        assert stop.place.step == 2
        with pytest.raises(CannotEdit, match="the choice of tokens cannot be edited here"):
            session.edit(stop, edit(Token(0), "force", 2, tokens=(5,)))
        with pytest.raises(CannotEdit, match="the choice of tokens cannot be edited here"):
            session.edit(stop, edit(Logits(), "ban", tokens=(5,)))
        session.edit(
            stop,
            edit(output("model.layers.0"), "scale", 2, number=0.5),
            edit(StoredValue("parameter", "model.norm.weight"), "scale", 2, number=2.0),
        )

    def look(_session: Session, stop: Stop) -> Motion:
        stops.append(str(stop.place))
        return Motion.RUN

    stops: list[str] = []
    own = llama.model.norm.weight.detach().clone()
    session = WholeSession(llama, [go_on, go_on, change, look], "model.layers.1")
    result = session.call(lambda: beams(llama))
    assert stops == ["before model.layers.1 in step 2"]
    assert torch.equal(llama.model.norm.weight, own)
    with (
        by_hand(llama.model.layers[0], lambda step, value: value * 0.5 if step >= 2 else value),
        by_hand(llama.model.norm, lambda step, value: value * 2.0 if step >= 2 else value),
    ):
        expected = beams(llama)
    assert torch.equal(result.sequences, expected.sequences)
    assert torch.equal(result.sequences_scores, expected.sequences_scores)
    assert not torch.equal(result.sequences_scores, beams(llama).sequences_scores)


def test_one_forward_is_edited_at_its_end_and_back_again() -> None:
    model = tiny_model("bert", "masked")
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    path = next(name for name, _ in model.named_modules() if name.endswith("encoder.layer.0"))
    seen: list[Any] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output(path, positions=(2,)), "zero"))

    def look_and_undo(session: Session, stop: Stop) -> None:
        seen.append(str(stop.place))
        session.put(stop, stop.generation.edits.without(1))

    def call() -> Any:
        logits.append(model(input_ids=ids).logits)
        return logits[-1]

    logits: list[Tensor] = []
    session = WholeSession(model, [change, look_and_undo])
    with torch.no_grad():
        result = session.call(call)

        def change_by_hand(_step: int, value: Tensor) -> Tensor:
            value = value.clone()
            value[:, 2] = 0
            return value

        with by_hand(model.get_submodule(path), change_by_hand):
            expected = model(input_ids=ids).logits
        assert torch.equal(logits[1], expected)
        assert not torch.equal(logits[0], expected)
        assert torch.equal(result, logits[0])
    assert seen == ["end of the generation"]


def test_an_encoder_is_edited_where_it_runs() -> None:
    model = tiny_model("bart")

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output("model.encoder.layers.0", positions=(3,)), "zero"))

    session = WholeSession(model, [change], "model.encoder.layers.1")
    with own_decoding(session.stepper, session):
        result = session.call(lambda: model.generate(**asked(do_sample=False)), counts=False)

    def change_by_hand(_step: int, value: Tensor) -> Tensor:
        value = value.clone()
        value[:, 3] = 0
        return value

    with by_hand(model.model.encoder.layers[0], change_by_hand):
        assert same_run(result, plain(model, do_sample=False))
    assert not same_run(result, plain(model, do_sample=False))


@pytest.mark.parametrize("value", ["input", "output"])
def test_a_prompt_that_comes_in_pieces_is_edited_at_its_positions(llama: Any, value: Any) -> None:
    target = ModuleValue("model.layers.1", value, selection=Selection(positions=(3,)))

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(target, "zero"))

    options = {"do_sample": False, "prefill_chunk_size": 2}
    calls = 0

    def by_piece(_step: int, given: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        given = given.clone()
        if calls == 2:
            given[:, 1] = 0  # of positions 2 and 3
        return given

    result = Session(llama, [change], "step").run(**options)
    with by_hand(llama.model.layers[1], by_piece, of_input=value == "input"):
        assert same_run(result, plain(llama, **options))
    assert calls > 6


def test_without_a_cache_a_position_is_edited_in_every_step(llama: Any) -> None:
    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output("model.layers.0", positions=(3,)), "zero"))

    def by_hand_at_3(_step: int, value: Tensor) -> Tensor:
        value = value.clone()
        value[:, 3] = 0
        return value

    options = {"do_sample": False, "use_cache": False}
    result = Session(llama, [change], "step").run(**options)
    with by_hand(llama.model.layers[0], by_hand_at_3):
        assert same_run(result, plain(llama, **options))
