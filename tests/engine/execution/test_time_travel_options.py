"""Forth, back and forth again with what `generate` can be asked for, and with what keeps state of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessor,
    StaticCache,
    StoppingCriteria,
    StoppingCriteriaList,
    SynthIDTextWatermarkingConfig,
)
from transformers.cache_utils import QuantizedLayer

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Stop
from dap_server.modelmap.places import END
from tests.engine.execution.journey import Journey, Move, ThereAndBack, there_and_back
from tests.engine.execution.straight import Ask, asking, run_straight, same, state_of
from tests.engine.execution.test_fidelity import Recorder
from tests.models.tiny import VOCABULARY, tiny_model

SAMPLED = {"do_sample": True}
EVERYTHING = {
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_logits": True,
    "output_hidden_states": True,
    "output_attentions": True,
}
SYNTHID = SynthIDTextWatermarkingConfig(keys=[3, 14, 15, 92], ngram_len=3, sampling_table_size=256)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
@pytest.mark.parametrize(
    "options",
    [
        {"guidance_scale": 1.5},
        {"watermarking_config": SYNTHID},
        {"watermarking_config": {"bias": 2.5, "seeding_scheme": "lefthash"}},
        {"prefill_chunk_size": 2},
        {"repetition_penalty": 1.3, "temperature": 1.5, "top_k": 20},
    ],
    ids=["guidance", "SynthID watermark", "watermark", "chunked prefill", "processors"],
)
def test_generation_options(kind: str, options: dict[str, Any]) -> None:
    there_and_back(tiny_model(kind), asking(SAMPLED | options))


@pytest.mark.parametrize("kind", ["llama", "gemma2", "bart", "falcon_h1"])
def test_returned_scores_logits_hidden_states_and_attentions(kind: str) -> None:
    model = tiny_model(kind, attn_implementation="eager")
    there_and_back(model, asking(SAMPLED | EVERYTHING))


@pytest.mark.parametrize("kind", ["llama, dropout", "gpt2, dropout"])
def test_dropout_in_train_mode(kind: str) -> None:
    there_and_back(tiny_model(kind).train(), asking(SAMPLED))


def test_sequences_of_a_batch_that_end_early_get_padding_in_a_replay_too() -> None:
    ends = list(range(3, VOCABULARY, 3))
    straight = there_and_back(tiny_model("mistral"), asking(SAMPLED | {"eos_token_id": ends}, batch=3)).straight
    assert any(0 in tokens.tolist() for tokens in straight.tokens)


class Odd(DynamicCache):  # type: ignore[misc]  # transformers is not typed
    """A cache of the user's own that remembers more than its layers do."""

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self.updates = 0

    def update(self, keys: Tensor, values: Tensor, *rest: Any, **more: Any) -> Any:
        self.updates += 1
        return super().update(keys + 0.001 * self.updates, values, *rest, **more)


class Rounding(QuantizedLayer):  # type: ignore[misc]
    """Quantises as the layers do that need a library for it."""

    def _quantize(self, tensor: Tensor, axis: int) -> tuple[Tensor, float]:
        return (tensor * 16).round().to(torch.int8), 16.0

    def _dequantize(self, quantised: tuple[Tensor, float]) -> Tensor:
        return quantised[0].to(torch.float32) / quantised[1]


def quantised(config: Any) -> DynamicCache:
    cache = DynamicCache(config=config)
    cache.layers = [Rounding(axis_key=0, axis_value=0, residual_length=4) for _ in cache.layers]
    return cache


HANDED_IN: dict[str, Callable[[Any], Any]] = {
    "dynamic": lambda config: DynamicCache(config=config),
    "static": lambda config: StaticCache(config=config, max_cache_len=20),
    "own": Odd,
    "quantised": quantised,
}
CACHES = [("llama", cache) for cache in HANDED_IN] + [("gemma2", "dynamic"), ("gemma2", "static"), ("falcon_h1", "own")]


@pytest.mark.parametrize(("kind", "cache"), CACHES)
def test_a_cache_handed_in_stays_the_same_object_and_ends_in_the_final_state(kind: str, cache: str) -> None:
    model = tiny_model(kind)
    handed_in: list[Any] = []

    def ask() -> dict[str, Any]:
        handed_in.append(HANDED_IN[cache](model.config))
        return {**asking(SAMPLED)(), "past_key_values": handed_in[-1]}

    there_and_back(model, ask)
    straight, debugged = map(state_of, handed_in)
    assert same(debugged, straight)


class Cooling(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """A user's processor that counts its calls, in place and by a new object."""

    def __init__(self) -> None:
        self.calls, self.history = torch.zeros(1), [0]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        self.history.append(int(input_ids[0, -1]))
        return scores / (1 + self.calls) + 0.01 * sum(self.history)


class Patience(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """A user's criterion that stops at its eighth call."""

    def __init__(self) -> None:
        self.left = 8

    def __call__(self, input_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        self.left -= 1
        return torch.full((input_ids.shape[0],), self.left == 0)


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_processors_and_criteria_of_the_user_that_count(kind: str) -> None:
    def ask() -> dict[str, Any]:
        own = {"logits_processor": [Cooling()], "stopping_criteria": StoppingCriteriaList([Patience()])}
        return {**asking(SAMPLED)(), **own}

    assert there_and_back(tiny_model(kind), ask).straight.steps == 8


class Locked(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Holds what cannot be copied, and itself."""

    def __init__(self) -> None:
        self.lock, self.me = threading.Lock(), self

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        with self.lock:
            return scores * 0.5


def test_a_processor_that_cannot_be_copied_does_not_break_the_run() -> None:
    there_and_back(tiny_model("llama"), lambda: {**asking(SAMPLED)(), "logits_processor": [Locked()]})


def test_a_breakpoint_on_a_processor_does_not_stop_what_runs_on_the_way_to_a_step() -> None:
    model, ask = tiny_model("mistral"), asking(SAMPLED | {"watermarking_config": SYNTHID})
    name = "SynthIDTextWatermarkLogitsProcessor"

    class Guide(ThereAndBack):
        def __call__(self, journey: Journey, stop: Stop) -> Move:
            move = super().__call__(journey, stop)
            journey.break_at((name, "before"))
            return move

    straight = run_straight(model, ask)
    journey = Journey(model, straight, Guide(straight))
    journey.break_at((name, "before"))
    journey.generate(ask)
    steps = list(range(straight.steps))
    assert [p.step for p in journey.places if p.path == name] == steps + steps
    assert [p.step for p in journey.places if p.path == "step"] == steps[::-1]


def test_a_streamer_hears_every_token_once() -> None:
    model, heard = tiny_model("gemma2"), list[Recorder]()

    def ask() -> dict[str, Any]:
        heard.append(Recorder())
        return {**asking(SAMPLED)(), "streamer": heard[-1]}

    there_and_back(model, ask)
    assert heard[1].events == heard[0].events
    assert len(heard[1].events) == 1 + 10 + 1


def test_stop_strings_and_penalties_on_the_example_model(atlas: Loaded) -> None:
    inputs = dict(atlas.tokenizer("one two three", return_tensors="pt"))
    options = {"tokenizer": atlas.tokenizer, "stop_strings": [" seven"], "repetition_penalty": 1.1}
    ask: Ask = lambda: {**inputs, **options, "max_new_tokens": 8, "disable_compile": True}  # noqa: E731
    there_and_back(atlas.model, ask)


class Clock:
    """Seconds pass when the model runs, and when somebody looks at a stop."""

    def __init__(self) -> None:
        self.now, self.pace = 1000.0, 1.0

    def __call__(self) -> float:
        return self.now

    def tick(self, *_: object) -> None:
        self.now += self.pace


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_time_at_stops_and_spent_going_back_does_not_count(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, clock = tiny_model(kind), Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "monotonic", clock)
    model.register_forward_pre_hook(clock.tick)
    ask = asking(SAMPLED | {"max_time": 6.5})
    straight = run_straight(model, ask)
    assert straight.steps == 7

    class Dawdler(ThereAndBack):
        def __call__(self, journey: Journey, stop: Stop) -> Move:
            clock.now += 100
            return super().__call__(journey, stop)

    guide = Dawdler(straight)
    journey = Journey(model, straight, guide)
    journey.break_everywhere()
    journey.generate(ask)
    assert journey.places[-1].path == END
    assert same(journey.heard, straight.tokens)


@pytest.mark.parametrize("second", [0.1, 5.0], ids=["faster", "slower"])
def test_a_second_pass_over_known_steps_ends_where_the_first_ended(
    second: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, clock = tiny_model("llama"), Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "monotonic", clock)
    model.register_forward_pre_hook(clock.tick)
    ask = asking(SAMPLED | {"max_time": 6.5})
    straight = run_straight(model, ask)

    class Guide(ThereAndBack):
        def look_around(self, journey: Journey, stop: Stop) -> None:
            clock.pace = second

    journey = Journey(model, straight, Guide(straight))
    journey.generate(ask)
    assert same(journey.heard, straight.tokens)
    assert journey.places[0] == journey.places[-1]
