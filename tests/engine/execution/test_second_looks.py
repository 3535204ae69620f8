"""A step that runs a second time leaves no trace, and going back and forth meets what was found late like all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.reasons import HIT
from dap_server.engine.execution.stepping import Interruption, Motion, Stop
from dap_server.engine.execution.travel import Destination, Traveller
from dap_server.modelmap.places import STEP, Place
from tests.engine.execution.straight import asking, returned, same
from tests.engine.execution.test_found_late import NON_FINITE, poisoned
from tests.engine.walk import GREEDY, PROMPTS, Walk
from tests.models.tiny import tiny_model, tiny_tokenizer

BORN = "exception: after model.layers.1.mlp.down_proj in step"
Decision = Callable[[Stop], Motion | Destination]


class Huge(nn.Module):
    """Finite values whose sum is not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x, torch.finfo(x.dtype).max / 2)


def ringing(name: str) -> Any:
    model = tiny_model(name)
    model.set_input_embeddings(RingingEmbedding(model.get_input_embeddings()))
    return model


class RingingEmbedding(nn.Module):
    """An embedding that rings in every step for nothing."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.huge, self.weight = inner, Huge(), inner.weight

    def forward(self, ids: Tensor) -> Any:
        embedded = self.inner(ids)
        self.huge(embedded)
        return embedded


class Streamer:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.put_in: list[list[int]] = []
        self.is_ended = False

    def put(self, value: Tensor) -> None:
        self.put_in.append(value.flatten().tolist())

    def end(self) -> None:
        self.is_ended = True


SCORES = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True, "output_hidden_states": True}
OPTIONS: list[Any] = [
    pytest.param("llama", 1, {"do_sample": False, **SCORES}, id="greedy"),
    pytest.param("llama", 2, {"do_sample": True, **SCORES}, id="sampled, left-padded batch"),
    pytest.param("llama", 2, {"do_sample": True, "use_cache": False}, id="no cache"),
    pytest.param("llama", 1, {"do_sample": True, "cache_implementation": "static"}, id="static cache"),
    pytest.param("llama", 1, {"do_sample": True, "max_time": 100.0, "repetition_penalty": 1.3}, id="time, processors"),
    pytest.param("mistral", 2, {"do_sample": True}, id="sliding windows"),
    pytest.param("gemma2", 2, {"do_sample": True}, id="sliding and full layers"),
    pytest.param("qwen3_next", 1, {"do_sample": True}, id="linear and full layers"),
    pytest.param("jamba", 1, {"do_sample": True}, id="states and full layers"),
    pytest.param("bart", 2, {"do_sample": True, **SCORES}, id="encoder-decoder"),
]


@pytest.mark.filterwarnings("ignore:.*static:UserWarning")
@pytest.mark.parametrize(("name", "batch", "options"), OPTIONS)
def test_a_run_whose_every_step_runs_twice_is_the_plain_one(name: str, batch: int, options: dict[str, Any]) -> None:
    model, ask = ringing(name), asking(options, batch)
    model.generate(**ask())  # some settle in their first run
    torch.manual_seed(3)
    expected = model.generate(**ask())
    walk = Walk(Loaded(model, None), breakpoints=[NON_FINITE])
    looked: list[int] = []
    walk.stepper.late.not_found_again = lambda step, error: looked.append(step)
    torch.manual_seed(3)
    actual = walk.generate(**ask())
    assert same(returned(actual), returned(expected))
    assert walk.stops == []
    assert looked == list(range(10)), "the flag rings for a sum that is too large"


def test_stop_strings_and_streamers_hear_of_every_token_once() -> None:
    model, tokenizer = ringing("llama"), tiny_tokenizer()
    free = model.generate(input_ids=PROMPTS[:1], **{**GREEDY, "max_new_tokens": 6, "eos_token_id": None})
    stop = tokenizer.decode(free[0, -3])
    options = {**GREEDY, "max_new_tokens": 6, "eos_token_id": None, "stop_strings": [stop], "tokenizer": tokenizer}
    plain, heard = Streamer(), Streamer()
    expected = model.generate(input_ids=PROMPTS[:1], streamer=plain, **options)
    walk = Walk(Loaded(model, None), breakpoints=[NON_FINITE])
    actual = walk.generate(input_ids=PROMPTS[:1], streamer=heard, **options)
    assert torch.equal(actual, expected)
    assert heard.put_in == plain.put_in
    assert heard.is_ended


def test_a_token_is_streamed_behind_the_stop_and_once() -> None:
    streamer, at_stops = Streamer(), []

    def decide(_stop: Stop) -> Motion:
        at_stops.append(len(streamer.put_in))
        return Motion.RUN

    walk = Walk(Loaded(poisoned(), None), decide, [NON_FINITE])
    walk.generate(input_ids=PROMPTS[:1], streamer=streamer, **GREEDY)
    assert at_stops == [1, 2, 3, 4], "the prompt, and the tokens of the steps before"
    assert len(streamer.put_in) == 5


def decisions(*made: Motion | Destination | str) -> tuple[list[Stop], Callable[[list[Walk]], Decision]]:
    """A way through a run: motions, destinations, or names of ways of Traveller; then it runs on."""
    stops: list[Stop] = []
    left = list(made)

    def decide_for(walk: list[Walk]) -> Decision:
        def decide(stop: Stop) -> Motion | Destination:
            stops.append(stop)
            decision = left.pop(0) if left else Motion.RUN
            if not isinstance(decision, str):
                return decision
            name, _, argument = decision.partition(" ")
            way = getattr(Traveller(walk[0].stepper, stop), name)
            found: Destination = way(argument) if argument else way()
            return found

        return decide

    return stops, decide_for


def travelled(model: Any, breakpoints: list[Any], *made: Motion | Destination | str, **options: Any) -> Walk:
    _, decide_for = decisions(*made)
    walks: list[Walk] = []
    walks.append(Walk(Loaded(model, None), decide_for(walks), breakpoints))
    walks[0].generate(**{"input_ids": PROMPTS[:1], **GREEDY, **options})
    return walks[0]


def test_reverse_continue_over_healthy_steps_runs_nothing_again() -> None:
    model, forwards = tiny_model("llama"), [0]
    at_end = Wanted(0, "model.layers.0", condition="step == 5")
    counts: list[int] = []

    def decide(stop: Stop) -> Motion | Destination:
        if stop.place.step < 5:
            return Motion.RUN
        walk.place(NON_FINITE)
        counts.append(forwards[0])
        destination = Traveller(walk.stepper, stop).last_hit()
        assert destination == Destination(Place(0, STEP), "entry")
        counts.append(forwards[0])
        return Motion.RUN

    handle = model.register_forward_pre_hook(lambda *_: forwards.__setitem__(0, forwards[0] + 1))
    walk = Walk(Loaded(model, None), decide, [NON_FINITE, at_end])
    walk.generate(input_ids=PROMPTS, **{**GREEDY, "max_new_tokens": 7, "eos_token_id": None})
    handle.remove()
    assert counts[1] - counts[0] <= 1, "only the step of the stop itself, which is not over"


def test_reverse_continue_over_quiet_steps_looks_for_other_breakpoints_only() -> None:
    late = Wanted(0, "*.layers.0", condition="step == 4")
    walk = travelled(
        tiny_model("llama"), [NON_FINITE, "model.layers.1", late],
        Motion.RUN, Motion.RUN, Motion.RUN, Motion.RUN, "last_hit", "last_hit", max_new_tokens=6, eos_token_id=None,
    )  # fmt: skip
    places = [stop.removeprefix(f"{HIT}: before model.") for stop in walk.stops]
    assert places[:7] == [
        "layers.1 in step 0", "layers.1 in step 1", "layers.1 in step 2", "layers.1 in step 3", "layers.0 in step 4",
        "layers.1 in step 3", "layers.1 in step 2",
    ]  # fmt: skip


def test_reverse_continue_lands_on_what_was_found_late() -> None:
    walk = travelled(poisoned(), [NON_FINITE], Motion.RUN, Motion.RUN, "last_hit", "last_hit")
    assert walk.stops == [f"{BORN} {step}" for step in (0, 1, 2, 1, 0, 1, 2, 3)]


def test_a_stop_that_was_gone_back_to_is_explained_like_the_first() -> None:
    stops, decide_for = decisions(Motion.RUN, "last_hit")
    walks: list[Walk] = []
    walks.append(Walk(Loaded(poisoned(), None), decide_for(walks), [NON_FINITE]))
    walks[0].generate(input_ids=PROMPTS[:1], **GREEDY)
    first, _, again = stops[:3]
    assert first.place == again.place
    assert first.hits == again.hits
    assert again.anomaly is not None
    assert first.anomaly is not None
    assert again.anomaly.breakpoint is first.anomaly.breakpoint
    assert same(again.output, first.output)


def test_what_lies_before_the_place_that_was_gone_to_does_not_stop_again() -> None:
    back = ["back_in", "back_in"]
    walk = travelled(poisoned(), [NON_FINITE, "model.norm"], Motion.RUN, *back, Motion.RUN, max_new_tokens=1)
    assert walk.stops == [
        f"{BORN} 0",
        f"{HIT}: before model.norm in step 0",
        "step: after model.layers.1 in step 0",
        "step: after model.layers.1.mlp in step 0",
        f"{HIT}: before model.norm in step 0",
    ]


def test_from_before_it_the_run_comes_to_it_again() -> None:
    walk = travelled(poisoned(), [NON_FINITE], "back", Motion.RUN, "beginning_of model.layers.1.mlp", max_new_tokens=1)
    assert walk.stops == [
        f"{BORN} 0",
        "step: before model.layers.1.mlp.down_proj in step 0",
        f"{BORN} 0",
        "restart: before model.layers.1.mlp in step 0",
        f"{BORN} 0",
    ]


def test_a_move_forth_goes_past_it_and_what_comes_behind_is_found() -> None:
    walk = travelled(poisoned(), [NON_FINITE], Destination(Place(2, STEP), "goto"))
    assert walk.stops == [f"{BORN} 0", "goto: step 2", f"{BORN} 2", f"{BORN} 3"]


def test_a_move_into_a_step_tells_first_what_was_found_on_the_way() -> None:
    inside = Destination(Place(2, "model.norm", "before"), "goto")
    walk = travelled(poisoned(), [NON_FINITE], inside)
    assert walk.stops[:2] == [f"{BORN} 0", "goto: before model.norm in step 2"]


def test_next_token_stops_at_it_and_not_at_its_own_step_again() -> None:
    walk = travelled(poisoned(), [NON_FINITE, "step"], Motion.TOKEN, max_new_tokens=2)
    assert walk.stops == [
        f"{HIT}: step 0", f"{BORN} 0", f"{HIT}: step 1", f"{BORN} 1",
    ]  # fmt: skip


@pytest.mark.parametrize("motion", [Motion.TOKEN, Motion.NEXT, Motion.OUT, Motion.IN, Motion.OPERATION])
def test_a_motion_that_has_passed_its_step_survives_a_look_that_finds_nothing(motion: Motion) -> None:
    def stops_of(breakpoints: list[Any], model: Any) -> list[str]:
        moves = [motion, Motion.RUN]
        walk = Walk(
            Loaded(model, None), lambda _stop: moves.pop(0) if moves else Motion.RUN, [*breakpoints, "after:sample"]
        )
        walk.generate(input_ids=PROMPTS[:1], **{**GREEDY, "max_new_tokens": 3, "eos_token_id": None})
        return walk.stops

    assert stops_of([NON_FINITE], ringing("llama")) == stops_of([], ringing("llama"))


def test_a_pause_in_the_moment_of_an_alarm_stops_in_the_step_that_runs_again() -> None:
    walk = Walk(Loaded(poisoned(), None), breakpoints=[NON_FINITE])
    asked: list[int] = []

    def ask(*_: object) -> None:
        if not asked:
            asked.append(1)
            walk.stepper.pause()

    walk.stepper.replays = ask  # as the step is unwound
    walk.generate(input_ids=PROMPTS[:1], **{**GREEDY, "max_new_tokens": 1})
    assert walk.stops == ["pause: step 0", f"{BORN} 0"]


def test_a_run_can_be_ended_in_the_middle_of_a_second_look() -> None:
    model = ringing("llama")
    walk = Walk(Loaded(model, None), breakpoints=[NON_FINITE])
    walk.stepper.replays = lambda: walk.stepper.interrupt(Interruption("enough"))
    told: list[int] = []
    walk.stepper.late.not_found_again = lambda step, error: told.append(step)
    with pytest.raises(Interruption, match="enough"):
        walk.generate(input_ids=PROMPTS, **GREEDY)
    assert walk.stops == []
    assert told == []
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_masks_nan_is_looked_at_once() -> None:
    """A softmax over nothing is NaN; who calls it knows, and sets it to zero."""
    model: Any = tiny_model("llama")
    model.model.layers[0].mlp.act_fn = Masking(model.model.layers[0].mlp.act_fn)
    ask = asking({"do_sample": True})
    torch.manual_seed(3)
    expected = model.generate(**ask())
    walk = Walk(Loaded(model, None), breakpoints=[NON_FINITE])
    looked: list[int] = []
    walk.stepper.late.not_found_again = lambda step, error: looked.append(step)
    torch.manual_seed(3)
    assert torch.equal(walk.generate(**ask()), expected)
    assert walk.stops == []
    assert looked == [0], "from there on the module around it is listened to"


class Masking(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.softmax = inner, nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        nothing = self.softmax(torch.full_like(x, -torch.inf))
        out: Tensor = self.inner(x) + nothing.masked_fill(nothing.isnan(), 0)
        return out


class AddsMask(nn.Module):
    """Returns a mask of minus infinity, as some modules of attention do."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x).masked_fill(torch.arange(x.shape[-1]) > 3, -torch.inf)


def test_a_mask_of_minus_infinity_is_no_anomaly_beside_one() -> None:
    model: Any = poisoned()
    inner = model.model.layers[0].mlp
    inner.mask = AddsMask()

    def masks(module: Any, args: tuple[Tensor], _output: Tensor) -> None:
        module.mask(args[0])

    inner.register_forward_hook(masks)
    walk = Walk(Loaded(model, None), breakpoints=[NON_FINITE])
    walk.generate(input_ids=PROMPTS[:1], **{**GREEDY, "max_new_tokens": 1})
    assert walk.stops == [f"{BORN} 0"]


def test_nothing_left_to_draw_from_stops_before_the_draw() -> None:
    class Forbids(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            return torch.full_like(scores, -torch.inf) if input_ids.shape[1] == 8 else scores

    processors = LogitsProcessorList([Forbids()])
    options = {**GREEDY, "do_sample": True, "logits_processor": processors, "eos_token_id": None}
    walk = Walk(Loaded(tiny_model("llama"), None), breakpoints=[NON_FINITE])
    with pytest.raises(RuntimeError, match="probability tensor contains"):  # as without the debugger
        walk.generate(input_ids=PROMPTS[:1], **options)
    assert walk.stops == ["exception: before sample in step 2"]
