"""Everything else goes on in an edited run: stops, looks, ways back, conditions, filters, lens, operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.analysis.lens.forwards import capture, speak
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.edits.edit import Edit, ModuleValue
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.operation_trace import OperationTrace
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.execution.edits.sessions import Session, by_hand, edit, go_on, output
from tests.engine.execution.journey import Journey, Move, ThereAndBack
from tests.engine.execution.straight import asking, returned, run_straight, same
from tests.models.tiny import VOCABULARY, tiny_model

GREEDY: dict[str, Any] = {"do_sample": False}


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


def walk_edits() -> list[Edit]:
    return [
        edit(output("model.layers.0"), "scale", 1, number=0.5),
        edit(ModuleValue("model.layers.1", "input"), "clamp", 2, 4, low=-0.2, high=0.2),
    ]


@contextmanager
def walk_edits_by_hand(model: Any) -> Iterator[None]:
    layers = model.model.layers
    with ExitStack() as stack:
        halved = by_hand(layers[0], lambda step, value: value * 0.5 if step >= 1 else value)
        clamped = by_hand(
            layers[1], lambda step, value: value.clamp(-0.2, 0.2) if 2 <= step <= 4 else value, of_input=True
        )
        stack.enter_context(halved)
        stack.enter_context(clamped)
        yield


class EditsFirst(ThereAndBack):
    """Edits later steps at the first stop."""

    def __call__(self, journey: Journey, stop: Stop) -> Move:
        if not stop.generation.edits:
            assert journey.stepper.settle(Edits(tuple(stop.generation.branches.numbered(walk_edits())))) is None
        return super().__call__(journey, stop)


@pytest.mark.parametrize("name", ["llama", "gemma2", "falcon_h1"])
def test_an_edited_run_goes_forth_and_back_and_is_looked_at_like_any_other(name: str) -> None:
    model = tiny_model(name)
    ask = asking({"do_sample": True, "return_dict_in_generate": True, "output_logits": True}, steps=6)
    run_straight(model, ask)
    with walk_edits_by_hand(model):
        straight = run_straight(model, ask)
    journey = Journey(model, straight, EditsFirst(straight))
    journey.break_everywhere()
    actual = journey.generate(ask)
    assert same(returned(actual), returned(straight.result))
    assert same(journey.heard, straight.tokens)


@pytest.mark.parametrize("path", ["model.layers.1", "model.norm", "lm_head"])
def test_the_lens_reads_what_the_edits_have_made(llama: Any, path: str) -> None:
    vector = torch.linspace(-2.0, 2.0, VOCABULARY if path == "lm_head" else llama.config.hidden_size)
    spoken: list[Tensor] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output(path), "steer", 2, tensor=vector))

    def look(session: Session, stop: Stop) -> Motion:
        tape: Any = stop.generation.tape
        stream = capture(tape, 3, session.anatomy)
        final = stream.places[-1].hidden
        speak(tape, 3, session.anatomy, stream, iter([final]), lambda logits: spoken.append(logits.clone()))
        spoken.append(tape.collected.logits[3])
        return Motion.RUN

    Session(llama, [change, go_on, look]).run(**GREEDY)
    assert torch.allclose(spoken[0][:, -1], spoken[1], atol=1e-5)


def test_a_condition_is_about_what_the_edits_have_made(llama: Any) -> None:
    seen: list[str] = []

    def change(session: Session, stop: Stop) -> None:
        session.place(Wanted(1, "after:model.layers.0", condition="norm == 0"))
        session.edit(stop, edit(output("model.layers.0"), "zero", 2, 3))

    def look(session: Session, stop: Stop) -> Motion:
        seen.append(str(stop.place))
        session._answers.append(look)
        return Motion.RUN

    Session(llama, [change, look], "step").run(**GREEDY)
    assert seen == ["after model.layers.0 in step 2", "after model.layers.0 in step 3", "end of the generation"]


def test_an_edit_that_makes_nan_is_found_by_the_filter(llama: Any) -> None:
    seen: list[str] = []

    def change(session: Session, stop: Stop) -> None:
        session.place(Wanted(1, "nonFinite", kind="exception"))
        session.edit(stop, edit(output("model.layers.0.mlp"), "set", 3, 3, number=float("nan")))

    def look(session: Session, stop: Stop) -> None:
        seen.append(str(stop.place))
        session.stepper.release()

    Session(llama, [change, look], "step").run(**GREEDY)
    assert seen == ["after model.layers.0.mlp in step 3"]


def test_the_run_stands_at_the_same_operation_again(llama: Any) -> None:
    seen: list[Any] = []

    def change(session: Session, stop: Stop) -> None:
        assert stop.operation is not None
        seen.append((stop.place, stop.ordinal, [t.clone() for t in stop.operation.args if isinstance(t, Tensor)]))
        session.edit(stop, edit(output("model.layers.0.post_attention_layernorm"), "scale", 0, number=0.5))

    def look(_session: Session, stop: Stop) -> Motion:
        assert stop.operation is not None
        seen.append((stop.place, stop.ordinal, [t.clone() for t in stop.operation.args if isinstance(t, Tensor)]))
        return Motion.RUN

    session = Session(llama, [go_on, change, look], "model.layers.0.mlp/aten::silu", "model.layers.0.mlp/aten::mul")
    session.run(**GREEDY)
    (place, ordinal, before), (again, same_ordinal, after) = seen
    assert (place, ordinal) == (again, same_ordinal)
    assert not same(before, after)


def test_what_an_edit_computes_is_no_operation_of_the_model(llama: Any) -> None:
    names: list[list[str]] = []

    def listed(session: Session, stop: Stop) -> None:
        assert stop.generation.tape is not None
        trace = OperationTrace(None, regions=session.stepper.regions, suspended_operation=None)
        trace.run(stop.generation.tape, 2)
        names.append([traced.full_name for traced in trace.operations])

    def change(session: Session, stop: Stop) -> None:
        listed(session, stop)
        session.edit(stop, edit(output("*.layers.*"), "scale", 2, number=0.5))

    def look(session: Session, stop: Stop) -> Motion:
        listed(session, stop)
        return Motion.RUN

    Session(llama, [change, go_on, look]).run(**GREEDY)
    assert names[0] == names[1]
