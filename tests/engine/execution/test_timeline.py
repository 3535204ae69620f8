"""What the tape keeps: little, bounded, and enough to be a few forwards from anywhere."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, LlamaConfig, StaticCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution import caches, randomness, timeline
from dap_server.engine.execution.arguments import Growing
from dap_server.engine.execution.decoding import SamplingLoop
from dap_server.engine.execution.holders import Holders
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.timeline import Timeline
from dap_server.modelmap.places import END, LOGITS, STEP, Place
from tests.conftest import Report
from tests.engine.execution.capturing import CaptureProbe
from tests.engine.execution.journey import Journey, Move
from tests.engine.execution.straight import Ask, Straight, asking, run_straight, same, state_of
from tests.models.tiny import tiny_model

# --- caches


class OwnLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    pass


class OwnCache(DynamicCache):  # type: ignore[misc]
    pass


CONFIG = LlamaConfig(num_hidden_layers=2, hidden_size=8, num_attention_heads=2, vocab_size=9, intermediate_size=8)


def filled(cache: Any, tokens: int = 3) -> Any:
    for layer in range(2):
        cache.update(torch.randn(1, 2, tokens, 4), torch.randn(1, 2, tokens, 4), layer)
    return cache


def with_layers(kind: type, *arguments: Any) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = [kind(*arguments) for _ in range(2)]
    return cache


@pytest.mark.parametrize(
    ("cache", "needs_copies"),
    [
        (None, False),
        (DynamicCache(), False),
        (DynamicCache(config=CONFIG), False),
        (StaticCache(config=CONFIG, max_cache_len=8), False),
        (EncoderDecoderCache(DynamicCache(), DynamicCache()), False),
        (OwnCache(), True),
        (EncoderDecoderCache(DynamicCache(), OwnCache()), True),
        (with_layers(OwnLayer), True),
        (with_layers(DynamicSlidingWindowLayer, 8), True),
        ([torch.zeros(1)], True),
        ((torch.zeros(1),), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_exact_classes_are_cropped_or_rewound(cache: Any, needs_copies: bool) -> None:
    assert caches.needs_copies(cache) is needs_copies


@pytest.mark.parametrize(
    "cache",
    [DynamicCache(), DynamicCache(config=CONFIG), OwnCache(), with_layers(OwnLayer), StaticCache(CONFIG, 8)],
    ids=lambda value: type(value.layers[0] if value.layers else value).__name__,
)
@pytest.mark.parametrize("start", [0, 3])
def test_a_cache_comes_back_in_place_and_as_a_view_that_leaves_it_alone(cache: Any, start: int) -> None:
    if start:
        filled(cache, start)
    before = tokens_of(cache)
    mark = caches.mark(cache, with_copies=True)
    filled(cache)
    present = state_of(cache)

    view = caches.view(cache, mark)
    assert same(tokens_of(view), before)
    filled(view, 2)
    assert same(state_of(cache), present)

    assert caches.rewind(cache, mark) is cache
    assert same(tokens_of(cache), before)
    assert caches.mark(cache, with_copies=True).lengths == mark.lengths or start == 0


def tokens_of(cache: Any) -> list[list[Tensor]]:
    """Keys and values (B, H, T, D) of the tokens that a cache has seen, per layer."""
    length = int(cache.get_seq_length())
    layers = [layer for layer in cache.layers if layer.is_initialized and length]
    return [[layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone()] for layer in layers]


def test_a_crop_shares_the_memory_of_the_cache_that_it_is_of() -> None:
    cache = filled(DynamicCache())
    mark = caches.mark(cache, with_copies=True)
    assert mark.nbytes == 0
    filled(cache)
    view = caches.view(cache, mark)
    assert view.layers[0].keys.data_ptr() == cache.layers[0].keys.data_ptr()


# --- state outside the cache


class Remembering(nn.Module):
    counted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counted", torch.zeros(2))
        self.state: Any = None
        self.notes: dict[str, Any] = {"seen": []}
        self.length = 300


@pytest.mark.parametrize("change", ["buffer", "attribute", "tensor in place", "number", "container", "new name"])
def test_every_change_of_an_attribute_is_noticed_and_taken_back(change: str) -> None:
    module = Remembering()
    module.state = torch.ones(2)
    holders = Holders(module)
    saved, before = holders.copy(), state_of(own(module), 3)
    assert not holders.have_changed()
    changes: dict[str, Callable[[], Any]] = {
        "buffer": lambda: module.counted.add_(1),
        "attribute": lambda: setattr(module, "state", torch.zeros(3)),
        "tensor in place": lambda: module.state.add_(1),
        "number": lambda: setattr(module, "length", 301),
        "container": lambda: module.notes.update(seen=[1]),
        "new name": lambda: setattr(module, "later", 1),
    }
    changes[change]()
    assert holders.have_changed()
    assert not holders.have_changed()
    for _ in range(2):
        holders.restore(saved)
        assert same(state_of(own(module), 3), before)
        module.counted.add_(1)


def own(module: nn.Module) -> dict[str, Any]:
    return {**module._buffers, **{k: v for k, v in vars(module).items() if k not in vars(nn.Module())}}


def test_a_look_leaves_the_very_objects_and_forgets_no_change() -> None:
    module = Remembering()
    module.state = torch.ones(2)
    holders = Holders(module)
    saved = holders.copy()
    module.state = present = torch.full((2,), 7.0)
    counted, notes = module.counted, module.notes
    with holders.kept():
        holders.restore(saved)
        assert module.state.tolist() == [1, 1]
        module.state.add_(1)
        module.counted.add_(5)
        module.notes["seen"].append(1)
    assert module.state is present
    assert module.counted is counted
    assert module.notes is notes
    assert counted.tolist() == [0, 0]
    assert notes == {"seen": []}
    assert holders.have_changed()
    assert not holders.have_changed()


def test_what_is_shared_stays_shared() -> None:
    one, other = Remembering(), Remembering()
    other.counted = one.counted
    other.notes = one.notes
    holders = Holders(nn.ModuleList([one, other]))
    saved = holders.copy()
    one.counted.add_(1)
    one.notes["seen"].append(1)
    holders.restore(saved)
    assert one.counted is other.counted
    assert one.counted.tolist() == [0, 0]
    assert one.notes is other.notes
    assert one.notes == {"seen": []}


def test_what_does_not_change_is_copied_once() -> None:
    module = Remembering()
    holders = Holders(module)
    assert not holders.have_changed()
    assert holders.copy().nbytes == 0
    module.counted.add_(1)
    assert holders.have_changed()
    assert holders.copy().nbytes == 8
    assert not holders.have_changed()
    assert holders.copy().nbytes == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model[0], "p", 0.5),
        lambda model: model[1].register_buffer("late", torch.ones(1)),
        lambda model: model.__setitem__(1, nn.Linear(2, 2)),
        lambda model: setattr(model[2], "length", 7),
        lambda model: model[2].counted.add_(1),
        lambda model: setattr(model[2], "counted", torch.ones(1)),
    ],
    ids=["of torch's own module", "first buffer", "module", "of a module", "in place", "buffer"],
)
def test_what_a_program_changes_between_calls_stays_when_a_call_goes_back(
    change: Callable[[nn.Sequential], Any],
) -> None:
    model: Any = nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2), Remembering())
    holders = Holders(model)
    holders.of_call([]).copy()
    assert not holders.call_begins()
    change(model)
    parts = list(model)
    expected = [state_of(own(part), 3) for part in parts]
    assert holders.call_begins()
    call = holders.of_call([])
    start = call.copy()
    model[2].length = 9
    model[2].counted.add_(1)
    assert call.have_changed()
    call.restore(start)
    assert list(model) == parts
    assert same([state_of(own(part), 3) for part in parts], expected)


def test_arguments_that_grow_are_cropped_and_others_are_told() -> None:
    growing, mask = Growing(), torch.ones(2, 3)
    start: dict[str, Any] = {"mask": mask, "across": torch.ones(2, 3, 4), "encoder_mask": torch.ones(2, 3), "n": 1}
    longer = {**start, "mask": torch.ones(2, 5), "across": torch.ones(2, 5, 4)}
    growing.learn(4, start)
    assert not growing.learn(6, longer)
    assert same(growing.cropped(longer, 2), start)
    assert growing.cropped(longer, 0) == longer
    assert not growing.learn(7, {**longer, "mask": torch.ones(2, 6)})
    assert growing.learn(8, {**longer, "mask": torch.ones(2, 6)})
    assert growing.learn(9, {**longer, "mask": torch.ones(2, 7), "encoder_mask": torch.zeros(2, 3)})


def test_random_states_come_back_and_equal_parts_are_shared() -> None:
    device = torch.device("cpu")
    recorder = randomness.Recorder(device)
    first = recorder.capture()
    drawn = torch.rand(3), random.random(), np.random.rand()
    second = recorder.capture()
    assert second.cpu is not first.cpu
    third = recorder.capture()
    assert third.cpu is second.cpu
    assert third.python is second.python
    assert third.numpy is second.numpy
    randomness.restore(first, device)
    assert same([torch.rand(3), random.random(), float(np.random.rand())], [drawn[0], drawn[1], float(drawn[2])])


# --- the tape


def at_the_end(model: Any, ask: Ask) -> tuple[SamplingLoop, Journey]:
    """Runs to the end; returns the loop and the journey as they are then."""
    loops: list[SamplingLoop] = []

    def guide(_journey: Journey, stop: Stop) -> Move:
        assert isinstance(stop.generation.tape, SamplingLoop)
        loops.append(stop.generation.tape)
        return Motion.RUN

    journey = Journey(model, Straight(), guide)
    journey.check = lambda stop: None  # type: ignore[method-assign]  # there is no straight run of it
    journey.generate(ask)
    return loops[0], journey


def real_size(tape: Timeline) -> int:
    """Bytes of all that the steps refer to, each object once: tensors with their elements, containers, numbers."""
    seen: set[int] = set()

    def size(value: Any) -> int:
        if value is None or id(value) in seen:
            return 0
        seen.add(id(value))
        own = sys.getsizeof(value)
        if isinstance(value, Tensor):
            return own + value.numel() * value.element_size()
        if isinstance(value, np.ndarray):
            return own
        if isinstance(value, dict):
            return own + sum(size(k) + size(v) for k, v in value.items())
        if isinstance(value, (list, tuple)):
            return own + sum(map(size, value))
        parts = [getattr(value, name) for name in getattr(type(value), "__slots__", ())]
        return own + sum(map(size, parts)) + (size(vars(value)) if hasattr(value, "__dict__") else 0)

    return size(tape.steps) + size(tape.ends)


@pytest.mark.parametrize("sampled", [True, False])
def test_a_step_of_the_tape_takes_less_than_four_kilobytes(atlas: Loaded, sampled: bool, report: Report) -> None:
    ask = asking({"do_sample": sampled}, steps=200)
    loop, _ = at_the_end(atlas.model, ask)
    tape = loop.timeline
    real = real_size(tape) / len(tape.steps)
    assert len(tape.checkpoints) == 1
    assert real < 4096
    assert tape.nbytes_per_step < 4096
    assert tape.nbytes_per_step == pytest.approx(real, rel=0.25, abs=300)
    kind = "sampled" if sampled else "greedy"
    report(f"bytes of the tape per {kind} token", [f"{tape.nbytes_per_step:.0f} (measured {real:.0f})"])


def test_going_back_costs_the_same_near_the_start_and_far_from_it(atlas: Loaded) -> None:
    """Forwards of the whole model, those that end early included: to the step before; to a module of it; a look."""
    costs: dict[str, list[int]] = {}

    def itinerary() -> Iterator[Move]:
        for step in (400, 10):
            yield Place(step, STEP)
            yield count("to the start of the step before", "back")
            yield count("from there to a module", Place(step - 1, "model.layers.2"))
            yield count("to the module before", "back")
            yield count("to the step before", Place(step - 2, LOGITS))

    def count(what: str, move: Move) -> Move:
        costs.setdefault(what, [])
        counting.append(what)
        return move

    counting: list[str] = []
    moves = itinerary()

    def guide(journey: Journey, stop: Stop) -> Move:
        if counting:
            costs[counting.pop()].append(journey.forwards)
        elif stop.place.path == STEP and stop.place.step in (400, 10):
            tape = stop.generation.tape
            assert tape is not None
            journey.forwards = 0
            tape.replay(stop.place.step - 5, CaptureProbe({("model.layers.2", 0)}))
            costs.setdefault("to look", []).append(journey.forwards)
        move = next(moves, Motion.RUN)
        journey.forwards = 0
        return move

    ask = asking({"do_sample": True}, steps=402)
    journey = Journey(atlas.model, Straight(), guide)
    journey.check = lambda stop: None  # type: ignore[method-assign]  # there is no straight run of it
    journey.generate(ask)
    assert costs == {
        "to look": [1, 1],
        "to the start of the step before": [0, 0],
        "from there to a module": [1, 1],
        "to the module before": [2, 2],  # one to learn where that is
        "to the step before": [1, 1],
    }


@pytest.mark.parametrize("kind", ["gemma2", "mamba", "llama, dynamic RoPE"])
def test_no_step_is_more_than_a_few_forwards_away(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "PATIENCE", 8)
    model, ask = tiny_model(kind), asking({"do_sample": True}, steps=40)
    loop, _ = at_the_end(model, ask)
    far: list[bool] = []
    for step in range(40):
        start, checkpoint = loop._start_for(step)
        assert checkpoint.step <= start <= step
        far.append(step - start >= timeline.SPACING)
        assert step - start <= timeline.PATIENCE
    assert sum(far) <= timeline.PATIENCE  # those before the first that was seen to move


@pytest.mark.parametrize("room", [1, 10, 100])
def test_checkpoints_stay_within_their_bytes_however_long_the_run(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ask = tiny_model("gemma2"), asking({"do_sample": True}, steps=60)
    size = at_the_end(model, ask)[0].timeline.checkpoints[-1].nbytes
    assert size > 0
    monkeypatch.setattr(timeline, "CHECKPOINT_BYTES", room * size)
    tape = at_the_end(model, ask)[0].timeline
    assert sum(checkpoint.nbytes for checkpoint in tape.checkpoints) <= max(room, timeline.MIN_CHECKPOINTS) * size
    assert tape.checkpoints[0].step == 0
    assert [c.step for c in tape.checkpoints] == sorted({c.step for c in tape.checkpoints})


def test_a_run_with_few_checkpoints_still_comes_back_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "CHECKPOINT_BYTES", 1)
    model, ask = tiny_model("falcon_h1"), asking({"do_sample": True}, steps=30)
    straight = run_straight(model, ask)

    def guide(journey: Journey, stop: Stop) -> Move:
        if stop.place.path != END:
            return Motion.RUN
        for step in (29, 3, 17, 0, 11):
            journey.look(stop, *journey.straight.modules_of(step)[::9])
            journey.choice(stop, step)
        return Motion.RUN if len(journey.places) > 2 else Place(13, STEP)

    journey = Journey(model, straight, guide)
    assert same(journey.generate(ask), straight.result)
    assert same(journey.heard, straight.tokens)


@pytest.mark.parametrize("patience", [8, timeline.PATIENCE], ids=["found by a later look", "found on the way back"])
@pytest.mark.parametrize("first", [0, 2, 20])
def test_a_model_that_draws_from_some_step_on_comes_back_exactly(
    first: int, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random numbers are not looked at every step of a run that is not sampled."""
    monkeypatch.setattr(timeline, "PATIENCE", patience)
    model, ask = tiny_model("llama"), asking({"do_sample": False}, steps=30)
    prompt = ask()["input_ids"].shape[1]

    def noise(_module: nn.Module, args: tuple[Tensor], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        cache = kwargs["past_key_values"]
        draws = cache.get_seq_length() >= (prompt + first - 1 if first else 0)
        return ((args[0] + torch.rand_like(args[0]) if draws else args[0]), *args[1:]), kwargs

    model.model.layers[0].register_forward_pre_hook(noise, with_kwargs=True)
    straight = run_straight(model, ask)
    assert not same(straight.result, run_straight(tiny_model("llama"), ask).result)

    def guide(journey: Journey, stop: Stop) -> Move:
        if stop.place.path != END:
            return Motion.RUN
        for step in (29, 3, 17, 0, 23, 1, 20, 19, 11):
            journey.look(stop, *journey.straight.modules_of(step)[::5])
            journey.choice(stop, step)
        return Motion.RUN if len(journey.places) > 3 else Place(27 - 6 * len(journey.places), STEP)

    journey = Journey(model, straight, guide)
    assert same(journey.generate(ask), straight.result)
    assert same(journey.heard, straight.tokens)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_where_nothing_moves_it_is_seldom_looked_and_every_step_known(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []

    def look(holders: Holders) -> bool:
        looks.append(have_changed(holders))
        return looks[-1]

    have_changed = Holders.have_changed
    monkeypatch.setattr(Holders, "have_changed", look)
    loop, _ = at_the_end(tiny_model(kind), asking({"do_sample": False}, steps=200))
    assert len(looks) < 10 + 200 / timeline.PATIENCE
    for step in range(200):
        assert loop._start_for(step)[0] == step
        mark = loop.timeline.steps[step].cache
        assert mark is not None
        assert mark.lengths == (5 + step if step else caches.EMPTY,)


def test_a_run_that_goes_another_way_forgets_what_followed() -> None:
    """As on a device whose kernels do not repeat themselves: the second pass chooses another token at step 5."""
    model, ask = tiny_model("mistral"), asking({}, steps=9)
    straight, passes = Straight(tokens=[torch.zeros(1, dtype=torch.long)] * 9), [0]
    looked: list[Tensor | None] = []

    def guide(journey: Journey, stop: Stop) -> Move:
        tape = stop.generation.tape
        assert isinstance(tape, SamplingLoop)
        if stop.place.path == END and not passes[0]:
            passes[0] = 1
            return Place(5, STEP)
        if stop.place.path == STEP:
            journey.stepper.generation.tape._draw = lambda scores: scores.argmin(dim=-1)  # type: ignore[union-attr]  # once
            return Motion.TOKEN if stop.place.step == 5 else last_turn(tape)
        looked.extend(s.tokens for s in map(tape.replay, range(9)) if s is not None)
        chosen.extend(record.tokens for record in stop.generation.records)
        assert stop.generation.diverged_at == 5
        return Motion.RUN

    def last_turn(tape: Any) -> Move:
        del tape._draw
        return Motion.RUN

    chosen: list[Tensor] = []
    journey = Journey(model, straight, guide)
    journey.check = lambda stop: None  # type: ignore[method-assign]  # there is no straight run of it
    journey.generate(ask)
    assert len(chosen) == 9
    assert [same(a, b) for a, b in zip(looked, chosen, strict=True)] == [i != 5 for i in range(9)]
