"""An exception in a forward stops where it is raised, and ends the run behind that as it would have ended."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

from dap_server.engine.analysis.anomalies.explaining import Explainer
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Destination, Traveller
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.engine.inspection.frames import CallStack
from tests.engine.execution.test_found_late import NON_FINITE, RAISES
from tests.engine.walk import GREEDY, PROMPTS, Walk
from tests.models.tiny import tiny_inputs, tiny_model


class Raising(nn.Module):
    """Does what another module does, and raises where it is told to."""

    def __init__(self, inner: nn.Module, when: Callable[[int, Tensor], bool], error: type[Exception]) -> None:
        super().__init__()
        self.inner, self.when, self.error = inner, when, error
        self.counter = [0]

    def forward(self, x: Tensor) -> Tensor:
        calls, self.counter[0] = self.counter[0], self.counter[0] + 1
        doubled = x * 2
        if self.when(calls, x):
            shape = tuple(doubled.shape)
            raise self.error(f"CUDA out of memory. Tried to allocate 20 GiB for {shape}")  # the raising line
        return self.inner(x)  # type: ignore[no-any-return]


def raising(
    when: Callable[[int, Tensor], bool] = lambda _calls, x: x.shape[1] == 1,
    error: type[Exception] = torch.OutOfMemoryError,
) -> Any:
    """Raises in every step but the prefill, when nothing else is said."""
    model: Any = tiny_model("llama")
    model.model.layers[1].mlp.act_fn = Raising(model.model.layers[1].mlp.act_fn, when, error)
    return model


AT = "exception: before model.layers.1.mlp.act_fn in step"


def ended(model: Any, *breakpoints: Any, decide: Any = None, **options: Any) -> tuple[Walk, Exception | None]:
    """A run, and what it ended with."""
    walks: list[Walk] = []
    walks.append(Walk(Loaded(model, None), decide and (lambda stop: decide(walks[0], stop)), breakpoints))
    told = walks[0].said
    walks[0].stepper.late.not_found_again = lambda step, error: told.append(f"nothing in step {step}, {error}")
    try:
        walks[0].generate(**{"input_ids": PROMPTS, **GREEDY, **options})
    except Exception as error:
        return walks[0], error
    return walks[0], None


def test_what_is_seen_at_the_stop_is_of_the_moment_it_was_raised() -> None:
    seen: list[bool] = []

    def decide(walk: Walk, stop: Stop) -> Motion:
        stack = CallStack(stop, walk.stepper, walk.vocabulary, 0)
        frames = stack.page(0, 6)
        scopes = {scope.name: scope for scope in walk.scopes.of(frames[0])}
        assert "Inputs" in scopes
        assert "Output" not in scopes
        forward = frames[1]
        assert forward.name == "Raising.forward"
        lines, first = inspect.getsourcelines(Raising.forward)
        at = first + next(i for i, line in enumerate(lines) if "the raising line" in line)
        assert forward.source is not None
        assert forward.source.line == at
        local = {s.name: s for s in walk.scopes.of(forward)}["Locals"]
        rows = {row.name: row for row in local.children.named_rows()}
        assert rows["calls"].value == "1", "what a module counts is as it was when the step began"
        assert stop.activations[0].forward is not None
        names = stop.activations[0].forward.f_locals
        assert torch.equal(names["doubled"], stop.activations[0].args[0] * 2)
        assert [frame.name for frame in frames[2:6:2]] == ["model.layers.1.mlp", "model.layers.1"]
        explained = Explainer(walk.anatomy, walk.vocabulary).explain(stop)
        assert explained.id == "OutOfMemoryError"
        assert "out of memory" in explained.text
        assert "act_fn (Raising) in step 1" in explained.text
        assert explained.trace is not None
        assert "# the raising line" in explained.trace
        seen.append(True)
        return Motion.RUN

    walk, error = ended(raising(), RAISES, decide=decide)
    assert walk.stops == [f"{AT} 1"]
    assert isinstance(error, torch.OutOfMemoryError)
    assert seen == [True]


@pytest.mark.parametrize("breakpoints", [[RAISES], [RAISES, NON_FINITE], [NON_FINITE], []], ids=len)
def test_the_run_ends_with_the_error_of_the_model_and_no_hooks(breakpoints: list[Wanted]) -> None:
    model = raising()
    walk, error = ended(model, *breakpoints)
    assert isinstance(error, torch.OutOfMemoryError)
    assert walk.stops == [f"{AT} 1"] * (RAISES in breakpoints)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not torch.nn.modules.module._global_forward_hooks


def test_a_condition_says_which_exceptions_stop() -> None:
    matching = Wanted(0, "forwardError", "exception", condition="'out of memory' in message")
    assert ended(raising(), matching)[0].stops == [f"{AT} 1"]
    other = Wanted(0, "forwardError", "exception", condition="error == 'ValueError'")
    walk, error = ended(raising(), other)
    assert walk.stops == walk.said == []
    assert isinstance(error, torch.OutOfMemoryError)


@pytest.mark.parametrize("step", [1, 3], ids=["in the middle", "in the last step"])
def test_an_exception_that_does_not_come_again_is_told_and_the_run_goes_on(step: int) -> None:
    calls = itertools.count()  # which goes on when a step runs again
    walk, error = ended(raising(lambda _calls, _x: next(calls) == step), RAISES)
    assert error is None
    assert walk.stops == []
    assert walk.said == [f"nothing in step {step}, True"]
    assert len(walk.heard) == 4


class Catching(nn.Module):
    """Tries one module, and takes another if it raises."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Any:
        try:
            return self.first(x)
        except ValueError:
            return self.second(x)


def test_what_the_model_catches_itself_stops_nothing_beside_another_one_either() -> None:
    model = raising()
    inner = model.model.layers[0].mlp.act_fn
    caught = Raising(inner, lambda _calls, _x: True, ValueError)
    model.model.layers[0].mlp.act_fn = Catching(caught, inner)
    walk, error = ended(model, RAISES)
    assert walk.stops == [f"{AT} 1"]
    assert isinstance(error, torch.OutOfMemoryError)
    quiet = tiny_model("llama")
    quiet.model.layers[0].mlp.act_fn = Catching(Raising(inner, lambda _calls, _x: True, ValueError), inner)
    assert ended(quiet, RAISES)[0].stops == []


def test_what_a_logits_processor_raises_ends_the_run_at_once() -> None:
    asked: list[int] = []

    class Fails(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            asked.append(input_ids.shape[1])
            raise KeyError("no such token")

    walk, error = ended(tiny_model("llama"), RAISES, NON_FINITE, logits_processor=LogitsProcessorList([Fails()]))
    assert isinstance(error, KeyError)
    assert walk.stops == []
    assert len(asked) == 1, "it is no forward, and its step does not run again"


def test_going_back_from_it_and_on_comes_to_it_again() -> None:
    ways = ["beginning_of model.layers.1.mlp", None, "last_hit"]

    def decide(walk: Walk, stop: Stop) -> Motion | Destination:
        if stop.error is None or not ways or (way := ways.pop(0)) is None:
            return Motion.RUN
        name, *path = way.split()
        destination: Destination = getattr(Traveller(walk.stepper, stop), name)(*path)
        return destination

    walk, error = ended(raising(), RAISES, decide=decide)
    assert isinstance(error, torch.OutOfMemoryError)
    assert walk.stops == [f"{AT} 1", "restart: before model.layers.1.mlp in step 1", f"{AT} 1"]


def whole(
    model: Any, call: Callable[[], Any], counts: bool = True, decide: Callable[[Stop], Motion] | None = None
) -> tuple[Walk, Exception | None]:
    walk = Walk(Loaded(model, None), decide, breakpoints=[RAISES, NON_FINITE])
    generation = Generation(is_forward=counts)
    walk.stepper.begin(generation)
    try:
        WholeCall(walk.stepper, generation, torch.device("cpu"), call, counts=counts).run()
    except Exception as error:
        return walk, error
    finally:
        walk.stepper.end()
        walk.stepper.release()
    return walk, None


def test_in_a_bare_forward_and_in_beam_search() -> None:
    model = raising(lambda _calls, x: True)
    walk, error = whole(model, lambda: model(input_ids=PROMPTS).logits)
    assert walk.stops == [f"{AT} 0"]
    assert isinstance(error, torch.OutOfMemoryError)
    model = raising()
    walk, error = whole(model, lambda: model.generate(input_ids=PROMPTS, num_beams=2, **GREEDY))
    assert walk.stops == [f"{AT} 1"]
    assert isinstance(error, torch.OutOfMemoryError)


def test_a_look_that_raises_it_again_does_not_have_it_told_twice() -> None:
    def decide(stop: Stop) -> Motion:
        assert stop.generation.tape is not None
        stop.generation.tape.replay(0)
        return Motion.RUN

    model = raising(lambda _calls, x: True)
    walk, error = whole(model, lambda: model(input_ids=PROMPTS).logits, decide=decide)
    assert walk.stops == [f"{AT} 0"]
    assert isinstance(error, torch.OutOfMemoryError)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_in_an_encoder_and_in_the_decoder_behind_it(part: str) -> None:
    from dap_server.engine.execution.calls.decoding import own_decoding

    model: Any = tiny_model("bart")
    layer = getattr(model.model, part).layers[0]
    is_there: Callable[[int, Tensor], bool] = lambda calls, _x: part == "encoder" or calls >= 2  # noqa: E731
    layer.fc1 = Raising(layer.fc1, is_there, torch.OutOfMemoryError)
    layer.fc1.weight = layer.fc1.inner.weight
    given = {k: v for k, v in tiny_inputs(model, "seq2seq").items() if k != "decoder_input_ids"}
    walk = Walk(Loaded(model, None), breakpoints=[RAISES, NON_FINITE])
    generation = Generation()
    walk.stepper.begin(generation)
    with own_decoding(walk.stepper, walk), pytest.raises(torch.OutOfMemoryError):
        WholeCall(
            walk.stepper, generation, torch.device("cpu"), lambda: model.generate(**given, **GREEDY), counts=False
        ).run()
    walk.stepper.end()
    walk.stepper.release()
    step = 0 if part == "encoder" else 2
    assert walk.stops == [f"exception: before model.{part}.layers.0.fc1 in step {step}"]
