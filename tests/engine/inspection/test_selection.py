"""How a token is chosen, stage by stage: against the processors of a plain run, and arithmetic in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper, set_seed

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.generation import Processed, Selection
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Traveller
from dap_server.engine.inspection.frames import CallStack, Frame
from dap_server.engine.inspection.selection import Choice, Stage, choice_of
from dap_server.engine.inspection.selection_rows import choice_rows, processor_rows
from dap_server.engine.inspection.variables import Row
from tests.engine.walk import Walk

PROMPTS = ["The capital of France is", "one two"]
STEPS = 4

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "penalties": {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.1},
    "forbidden and forced": {
        "bad_words_ids": [[17], [30, 31]],
        "suppress_tokens": [5, 6, 7],
        "min_new_tokens": 3,
        "forced_eos_token_id": 2,
    },
    "sampled": {"do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.9},
    "sampled, other warpers": {"do_sample": True, "temperature": 1.5, "min_p": 0.02, "typical_p": 0.9, "top_k": 0},
    "sampled, cut offs": {"do_sample": True, "epsilon_cutoff": 1e-3, "eta_cutoff": 1e-3, "repetition_penalty": 1.2},
    "guidance": {"guidance_scale": 1.5},
    "guidance, sampled": {"guidance_scale": 2.0, "do_sample": True, "temperature": 1.3},
}

Recorded = list[list[tuple[str, Tensor]]]
"""By step: the logits, then every processor with its scores."""


@contextmanager
def recording() -> Iterator[Recorded]:
    """What the logits processors of a plain run give, one by one."""
    steps: Recorded = []
    original = LogitsProcessorList.__call__

    def call(self: LogitsProcessorList, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        steps.append([("logits", scores.clone())])
        for processor in self:
            scores = original(LogitsProcessorList([processor]), input_ids, scores, **kwargs)
            steps[-1].append((type(processor).__name__, scores.clone()))
        return scores

    LogitsProcessorList.__call__ = call
    try:
        yield steps
    finally:
        LogitsProcessorList.__call__ = original


def plain(loaded: Loaded, **options: Any) -> tuple[Recorded, Tensor]:
    inputs = loaded.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    set_seed(3)
    with recording() as steps:
        ids: Tensor = loaded.model.generate(**inputs, max_new_tokens=STEPS, disable_compile=True, **options)
    return steps, ids


def looking(
    loaded: Loaded, breakpoints: list[str], look: Callable[[Walk, Stop], Motion | None], **options: Any
) -> Tensor:
    """A run that stops at breakpoints; gives the tokens."""

    def decide(stop: Stop) -> Motion:
        return look(walk, stop) or Motion.RUN

    walk = Walk(loaded, decide, breakpoints)
    inputs = loaded.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    set_seed(3)
    ids: Tensor = walk.generate(**inputs, max_new_tokens=STEPS, disable_compile=True, **options)
    return ids


def frame_at(walk: Walk, stop: Stop, sequence: int = 0, index: int = 0) -> Frame:
    return CallStack(stop, walk.stepper, walk.vocabulary, sequence).page(index, 1)[0]


def softmax(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def check(choice: Choice, recorded: list[tuple[str, Tensor]], sequence: int, token: int) -> None:
    """Every number of a choice, from scores that a plain run gave."""
    names = [name for name, _ in recorded]
    assert [stage.name for stage in choice.stages] == [*names, "probabilities"]
    assert choice.token == token
    rows = [scores[sequence].numpy() for _, scores in recorded]
    wide = [row.astype(np.float64) for row in rows]
    for i, (stage, row) in enumerate(zip(choice.stages, [*rows, rows[-1]], strict=True)):
        assert np.array_equal(stage.raw.numpy(), row), "to the last bit"
        probs = softmax(row.astype(np.float64))
        possible = probs[probs > 0]
        assert stage.entropy == pytest.approx(-(possible * np.log(possible)).sum(), rel=1e-12, abs=1e-12)
        assert stage.kept == int((row > -np.inf).sum())
        assert stage.rank(token) == int((probs > probs[token]).sum()) + 1
        assert stage.at(token).probability == pytest.approx(probs[token], rel=1e-12)
        best = [candidate.probability for candidate in stage.top(10)]
        assert best == pytest.approx(np.sort(probs)[::-1][: len(best)].tolist(), rel=1e-12)
        if 0 < i < len(rows):
            gone = (wide[i] == -np.inf) & (wide[i - 1] > -np.inf)
            before = softmax(wide[i - 1])
            assert stage.pruned == int(gone.sum())
            assert stage.pruned_mass == pytest.approx(before[gone].sum(), rel=1e-9, abs=1e-15)
            assert stage.changed == int((wide[i] != wide[i - 1]).sum())
            moved = np.sort(np.abs(probs - before))[::-1]
            assert [abs(m.after - m.before) for m in stage.movers(5)] == pytest.approx(
                moved[:5][moved[:5] > 0].tolist()
            )
    gone = (wide[-1] == -np.inf) & (wide[0] > -np.inf)
    assert choice.pruned == int(gone.sum())
    assert choice.pruned_mass == pytest.approx(softmax(wide[0])[gone].sum(), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_stage_is_that_of_a_plain_run(atlas: Loaded, options: dict[str, Any]) -> None:
    """At `sample`, where it is kept; of past steps, of the present one from within it, and from the first place."""
    steps, expected = plain(atlas, **options)
    prompt = atlas.tokenizer(PROMPTS, return_tensors="pt", padding=True)["input_ids"].shape[1]
    seen: list[str] = []

    def look(walk: Walk, stop: Stop) -> None:
        seen.append(stop.place.path)
        choices = walk.scopes.choices
        for sequence in range(len(PROMPTS)):
            stack = CallStack(stop, walk.stepper, walk.vocabulary, sequence).page(0, None)
            for frame in stack:
                if frame.kind not in ("selection", "step", "past step"):
                    continue
                choice = choices.choice(frame)
                assert choice is not None
                token = int(expected[sequence, prompt + frame.step])
                check(choice, steps[frame.step], sequence, token)
                assert choice.is_chosen == (frame.kind == "past step")
                assert choice.draw.startswith("sampled" if options.get("do_sample") else "greedy")

    walked = looking(atlas, ["sample", "*.layers.2", "logits"], look, **options)
    assert torch.equal(walked, expected)
    assert set(seen) >= {"sample", "logits", "model.layers.2"}


def test_nothing_is_kept_while_nobody_watches_and_a_look_at_sample_runs_nothing(atlas: Loaded) -> None:
    options = OPTIONS["sampled"]

    def at_sample(walk: Walk, stop: Stop) -> None:
        frame = frame_at(walk, stop)
        (scope,) = [scope for scope in walk.scopes.of(frame) if scope.name == "Sampling"]
        assert not scope.expensive
        assert walk.scopes.choices.is_kept(frame)

    looking(atlas, ["sample"], at_sample, **options)

    def in_a_layer(walk: Walk, stop: Stop) -> None:
        step = next(f for f in CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None) if f.kind == "step")
        assert stop.generation.selection is None
        (scope,) = [scope for scope in walk.scopes.of(step) if scope.name == "Sampling"]
        assert scope.expensive

    looking(atlas, ["*.layers.1"], in_a_layer, **options)


def test_processors_are_stepped_through_one_by_one(atlas: Loaded) -> None:
    options = {**OPTIONS["sampled"], "repetition_penalty": 1.3}
    steps, expected = plain(atlas, **options)
    places: list[str] = []

    def look(walk: Walk, stop: Stop) -> Motion | None:
        if stop.place.step > 0:
            return None
        places.append(str(stop.place))
        frame = frame_at(walk, stop)
        if frame.processor is None:
            return Motion.NEXT
        scopes = {scope.name: scope for scope in walk.scopes.of(frame)}
        assert list(scopes)[:2] == ["Processor", "Sampling"]
        assert scopes["Processor"].expensive, "what it will give is found by running the step again"
        i = [name for name, _ in steps[0]].index(stop.place.path)
        stage = walk.scopes.choices.stage(frame)
        assert stage is not None
        assert stage.before is not None
        assert torch.equal(stage.raw, steps[0][i][1][0])
        assert torch.equal(stage.before.raw, steps[0][i - 1][1][0])
        return Motion.NEXT

    assert torch.equal(looking(atlas, ["logits"], look, **options), expected)
    names = ["RepetitionPenaltyLogitsProcessor", "TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper"]
    assert places == [f"before {name} in step 0" for name in ["logits", *names, "sample"]]


def test_after_a_processor_what_it_did_is_known_without_running_anything(atlas: Loaded) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        frame, call = CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, 2)
        scopes = {scope.name: scope for scope in walk.scopes.of(frame)}
        assert not scopes["Processor"].expensive
        rows = by_name(scopes["Processor"].children.named_rows())
        assert rows["options"].value.startswith("top_k=50")
        assert rows["left"].value == "50 tokens"
        assert rows["pruned"].value == f"{atlas.model.config.vocab_size - 50:,} tokens"
        assert (call.kind, call.name) == ("call", "TopKLogitsWarper.__call__")
        assert call.source is not None
        assert "def __call__" in Path(call.source.path).read_text().splitlines()[call.source.line - 1]
        assert set(by_name(walk.scopes.of(call)[0].children.named_rows())) == {"self", "input_ids"}

    looking(atlas, ["after:TopKLogitsWarper"], look, **OPTIONS["sampled"])


def test_two_processors_of_one_class_are_two_places_back_in_time_too(atlas: Loaded) -> None:
    processors = LogitsProcessorList([TemperatureLogitsWarper(0.5), TemperatureLogitsWarper(4.0)])
    seen: list[tuple[int, int, str]] = []

    def look(walk: Walk, stop: Stop) -> None:
        frame = frame_at(walk, stop)
        place = stop.place
        stage = walk.scopes.choices.stage(frame)
        assert stage is not None
        assert stage.before is not None
        factor = frame.processor.temperature
        assert torch.equal(stage.raw, stage.before.raw / factor)
        seen.append((place.step, place.occurrence, f"{frame.name} {factor}"))
        if place.occurrence == 1 and place.phase == "before":
            back = Traveller(walk.stepper, stop).back().place
            assert (back.path, back.occurrence, back.phase) == (place.path, 0, "before")
            hit = Traveller(walk.stepper, stop).last_hit().place
            assert hit == back

    looking(atlas, ["TemperatureLogitsWarper"], look, logits_processor=processors)
    name = "TemperatureLogitsWarper"
    assert seen[:3] == [(0, 0, f"{name} (before) 0.5"), (0, 1, f"{name} (before, call 2) 4.0"), seen[2]]
    assert len(seen) == 2 * STEPS


def test_processors_in_a_list_with_a_call_of_its_own_are_one_stage(atlas: Loaded) -> None:
    """What they give one by one is not known: the logits and the probabilities are."""

    class Backwards(LogitsProcessorList):  # type: ignore[misc]
        def __call__(self, input_ids: Tensor, scores: Tensor, **_options: Any) -> Tensor:
            given: Tensor = LogitsProcessorList(reversed(self))(input_ids, scores)
            return given

    processors = Backwards([TemperatureLogitsWarper(0.5)])
    model = atlas.model
    original = model._get_logits_processor
    object.__setattr__(model, "_get_logits_processor", lambda *_args, **_kwargs: processors)
    try:

        def look(walk: Walk, stop: Stop) -> None:
            choice = walk.scopes.choices.choice(frame_at(walk, stop))
            assert choice is not None
            assert [stage.name for stage in choice.stages] == ["logits", "probabilities"]
            assert torch.equal(choice.final.raw, choice.logits.raw / 0.5)

        looking(atlas, ["sample"], look)
    finally:
        del model.__dict__["_get_logits_processor"]
    assert model._get_logits_processor == original


def test_going_back_leads_to_the_right_one_of_two(atlas: Loaded) -> None:
    processors = LogitsProcessorList([TemperatureLogitsWarper(0.5), TemperatureLogitsWarper(4.0)])
    seen: list[str] = []

    def decide(stop: Stop) -> Motion:
        seen.append(str(stop.place))
        if stop.place.path == "sample" and len(seen) == 1:
            walk.stepper.travel(Traveller(walk.stepper, stop).back().place, "step")
            return Motion.RUN
        if stop.place.occurrence == 1:
            walk.stepper.travel(Traveller(walk.stepper, stop).back().place, "step")
            return Motion.RUN
        walk.stepper.set_breakpoints([])
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    resume = walk.stepper.resume
    walk.stepper.resume = lambda motion, target=None: (  # type: ignore[method-assign]
        None if not walk.stepper.stage.is_parked else resume(motion, target)
    )
    inputs = atlas.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    walk.generate(**inputs, max_new_tokens=2, disable_compile=True, logits_processor=processors)
    name = "TemperatureLogitsWarper"
    assert seen == ["before sample in step 0", f"before {name} in step 0, call 2", f"before {name} in step 0"]


def test_a_processor_that_calls_the_model_is_seen_around_it_and_stepped_over(atlas: Loaded) -> None:
    name = "UnbatchedClassifierFreeGuidanceLogitsProcessor"
    seen: list[str] = []
    inside: list[list[str]] = []

    def look(walk: Walk, stop: Stop) -> Motion | None:
        if stop.place.step > 0:
            return None
        seen.append(str(stop.place))
        stack = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
        if stop.activations and stop.generation.selection is not None:
            frames = [f for f in stack if f.kind in ("selection", "call")]
            inside.append([f.name for f in frames])
            names = by_name(walk.scopes.of(frames[1])[0].children.named_rows())
            assert "unconditional_logits" not in names
            assert "scores" in names
            return Motion.OUT
        if stop.place.path == name:
            return Motion.IN if len(seen) == 2 else Motion.NEXT
        return Motion.NEXT

    looking(atlas, ["logits"], look, guidance_scale=1.5)
    assert seen[:3] == ["before logits in step 0", f"before {name} in step 0", "before the model in step 0"]
    assert inside == [[name, f"{name}.__call__"]]

    def over(walk: Walk, stop: Stop) -> Motion | None:
        seen.append(str(stop.place))
        return Motion.NEXT if stop.place.step == 0 else None

    seen.clear()
    looking(atlas, ["logits"], over, guidance_scale=1.5)
    assert seen[:3] == ["before logits in step 0", f"before {name} in step 0", "before sample in step 0"]


def test_a_processor_that_writes_into_its_scores_is_shown_as_it_was(atlas: Loaded) -> None:
    class InPlace(LogitsProcessor):  # type: ignore[misc]
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            scores[:, 100:] = -math.inf
            return scores

    options = {"logits_processor": LogitsProcessorList([InPlace(), TemperatureLogitsWarper(0.5)])}
    steps, expected = plain(atlas, **options)

    def look(walk: Walk, stop: Stop) -> None:
        choice = walk.scopes.choices.choice(frame_at(walk, stop))
        assert choice is not None
        check(choice, steps[stop.place.step], 0, choice.token)
        assert choice.logits.kept == atlas.model.config.vocab_size

    assert torch.equal(looking(atlas, ["sample"], look, **options), expected)


def test_a_sequence_that_has_ended_gets_padding(atlas: Loaded) -> None:
    _, ids = plain(atlas)
    prompt = ids.shape[1] - STEPS
    eos = int(ids[0, prompt + 1])
    draws: list[tuple[int, bool, int]] = []

    def look(walk: Walk, stop: Stop) -> None:
        choice = walk.scopes.choices.choice(frame_at(walk, stop))
        assert choice is not None
        draws.append((stop.place.step, choice.is_padding, choice.token))

    looking(atlas, ["sample"], look, eos_token_id=eos, pad_token_id=0)
    assert [padding for _, padding, _ in draws] == [False, False, *[True] * (len(draws) - 2)]
    assert all(token == 0 for _, padding, token in draws if padding)


def stage(scores: list[float], before: list[float] | None = None) -> Stage:
    first = None if before is None else Stage("logits", 0, None, torch.tensor(before), None)
    return Stage("X", 0, None if before is None else object(), torch.tensor(scores), first)


def test_scores_that_are_no_numbers_are_counted_and_fail_nothing(atlas: Loaded) -> None:
    walk = Walk(atlas)
    for scores in ([1.0, math.nan, 2.0], [-math.inf] * 3, [1.0, math.inf, 0.0]):
        made = stage(scores, [1.0, 2.0, 3.0])
        assert math.isnan(made.entropy)
        assert made.rank(0) is None
        assert made.movers(5) == []
        rows = by_name(processor_rows(made, 0, walk.vocabulary))
        assert rows["movers"].value == "no probabilities"
        for row in rows.values():
            if row.children is not None:
                row.children.named_rows()
    assert stage([1.0, math.nan, 2.0]).nan == 1
    assert [c.token for c in stage([1.0, math.nan, 2.0]).top(3)] == [2, 0]
    assert stage([-math.inf] * 3).kept == 0
    selection = Selection(torch.tensor([[1.0, 2.0]]), torch.tensor([[math.nan, 2.0]]))
    selection.kept = [Processed("P", object(), selection.scores)]
    choice = choice_of(selection, torch.tensor([1]), 0, True, False)
    assert by_name(choice_rows(choice, walk.vocabulary, 0))["rank"].value == "none"


def by_name(rows: list[Row]) -> dict[str, Row]:
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row for row in rows}
