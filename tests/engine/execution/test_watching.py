"""Data breakpoints: where a value changes or a predicate turns true, forward and back, in a run that stays the same."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Destination, Traveller
from dap_server.engine.execution.whole_call import WholeCall
from tests.engine.walk import GREEDY, PROMPTS, Walk
from tests.models.tiny import tiny_model, tiny_tokenizer

STEPS = 5
LONG: dict[str, Any] = {**GREEDY, "max_new_tokens": STEPS, "min_new_tokens": STEPS}
SAMPLED: dict[str, Any] = {**LONG, "do_sample": True, "temperature": 0.8}
DOWN = "model.layers.1.mlp.down_proj"

Then = Callable[[Walk, Stop], Motion | Destination | None]


def on(what: str, condition: str | None = None, hits: str | None = None) -> Wanted:
    return Wanted(0, what, "data", condition=condition, hit_condition=hits)


def run(
    *breakpoints: str | Wanted,
    then: Then | None = None,
    model: Any = None,
    prompts: Tensor = PROMPTS[1:],
    **options: Any,
) -> tuple[list[str], list[str]]:
    """The places of all stops, and what was told there."""
    told: list[str] = []

    def decide(stop: Stop) -> Motion | Destination:
        told.extend(walk.stepper.breakpoints.told(stop.hits) or [""])
        return (then(walk, stop) if then is not None else None) or Motion.RUN

    walk = Walk(Loaded(model or tiny_model("llama"), tiny_tokenizer()), decide, breakpoints)
    assert [b.problem for b in walk.stepper.breakpoints.all] == [None] * len(breakpoints)
    torch.manual_seed(0)
    walk.generate(input_ids=prompts, **{**LONG, **options})
    return walk.stops, told


def returned(path: str, part: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What a part of a module's output is, step by step, in a run without the debugger."""
    model, found = tiny_model("llama"), []

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        found.append(part(output[0] if isinstance(output, tuple) else output).double())

    handle = model.get_submodule(path).register_forward_hook(keep)
    model.generate(input_ids=PROMPTS[1:], **LONG)
    handle.remove()
    return found


# --- changes


def test_an_activation_stops_at_every_change_with_both_values() -> None:
    expected = [float(value) for value in returned("model.layers.1", lambda output: output[0, -1, 3])]
    stops, told = run(on("activation:model.layers.1[0, -1, 3]"))
    assert stops == [f"data breakpoint: after model.layers.1 in step {step}" for step in range(1, STEPS)]
    for step, text in enumerate(told, start=1):
        assert f"{expected[step - 1]:.6g} → {expected[step]:.6g}" in text
        assert f"(last seen after model.layers.1 in step {step - 1})" in text


def test_a_change_beyond_a_tolerance_is_that_of_the_largest_element() -> None:
    vectors = returned("model.layers.0", lambda output: output[0, -1])
    changes = [float((now - then).abs().max()) for then, now in pairwise(vectors)]
    tolerance = sorted(changes)[1]
    expected = [step for step, change in enumerate(changes, start=1) if change > tolerance]
    stops, _ = run(on("activation:model.layers.0[0, -1]", f"change > {tolerance!r}"))
    assert stops == [f"data breakpoint: after model.layers.0 in step {step}" for step in expected]


def test_a_predicate_stops_each_time_that_it_turns_true() -> None:
    values = [float(value) for value in returned("model.layers.1", lambda output: output[0, -1, 3])]
    middle = sorted(values)[len(values) // 2]
    true = [value > middle for value in values]
    expected = [step for step in range(STEPS) if true[step] and not (step and true[step - 1])]
    assert expected
    stops, _ = run(on("activation:model.layers.1[0, -1, 3]", f"value > {middle!r}"))
    assert stops == [f"data breakpoint: after model.layers.1 in step {step}" for step in expected]
    always = f"before is None and value > {middle!r} or before is not None and value > {middle!r}"
    stops, _ = run(on("activation:model.layers.1[0, -1, 3]", always))
    assert len(stops) == sum(true), "with `before` it stops whenever it is true"


def test_what_is_true_from_the_beginning_stops_once() -> None:
    stops, told = run(on("model.norm.weight", "value.sum() > 0"))
    assert stops == ["data breakpoint: step 0"]
    assert told == ["model.norm.weight is [32] from 1 to 1"]


def test_a_parameter_that_somebody_writes_is_told_where_it_is_looked_at_next() -> None:
    def write(walk: Walk, stop: Stop) -> None:
        if stop.reason == "function breakpoint":
            with torch.no_grad():
                walk.loaded.model.get_submodule(DOWN).weight.data[2, 4] = 9.0

    stops, told = run(
        on(f"parameter:{DOWN}.weight[2]"), "model.layers.1.mlp", then=write, max_new_tokens=2, min_new_tokens=2
    )
    assert stops == [
        "function breakpoint: before model.layers.1.mlp in step 0",
        f"data breakpoint: before {DOWN} in step 0",
        "function breakpoint: before model.layers.1.mlp in step 1",
    ]
    assert f"{DOWN}.weight[2]: 1 of " in told[1]
    assert told[1].endswith("→ 9 (last seen at step 0)")


def test_writing_the_same_value_is_no_change() -> None:
    def write(walk: Walk, stop: Stop) -> None:
        with torch.no_grad():
            walk.loaded.model.get_submodule(DOWN).weight.mul_(1)

    stops, _ = run(on(f"parameter:{DOWN}.weight"), "model.layers.1.mlp", then=write)
    assert not [stop for stop in stops if stop.startswith("data")]


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            self.calls[1] += 1
        return self.inner(x)  # type: ignore[no-any-return]


def test_a_buffer_that_the_model_writes_stops_behind_its_module() -> None:
    model = tiny_model("llama")
    model.model.layers[0].mlp = Counting(model.model.layers[0].mlp)
    stops, told = run(on("parameter:model.layers.0.mlp.calls[1]"), model=model)
    assert stops == [f"data breakpoint: after model.layers.0.mlp in step {step}" for step in range(1, STEPS)]
    assert told[1].endswith("calls[1]: 1 → 2 (last seen before model.layers.0.mlp in step 2)")


def test_nan_that_stays_nan_is_no_change() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[3, 5] = torch.nan
    stops, _ = run(on("activation:model.layers.0[0, -1, 3]"), model=model)
    assert stops == []


def test_hits_are_counted() -> None:
    stops, _ = run(on("activation:model.layers.1[0, -1]", hits="3"))
    assert stops == ["data breakpoint: after model.layers.1 in step 3"]


def test_the_input_of_a_module_is_looked_at_before_it() -> None:
    stops, _ = run(on("input:model.layers.1[0, -1]", hits="1"))
    assert stops == ["data breakpoint: before model.layers.1 in step 1"]


# --- the cache, options, probabilities


def test_an_entry_of_the_cache_stays_until_somebody_writes_it() -> None:
    def write(walk: Walk, stop: Stop) -> None:
        if stop.reason == "function breakpoint" and stop.place.step == 2:
            assert stop.generation.tape is not None
            stop.generation.tape.cache.layers[0].keys[0, 1, 3, 2] += 1

    stops, told = run(on("cache:0.keys[0, :, 3]"), "step", then=write)
    data = [stop for stop in stops if stop.startswith("data")]
    assert data == ["data breakpoint: after model.layers.0 in step 2"]
    assert "1 of " in "".join(told)
    stops, told = run(on("cache:1.values", hits="1"))
    assert stops == ["data breakpoint: after model.layers.1 in step 1"], "as a whole it grows with every token"
    assert "shape [1, 2, 6, 8] → [1, 2, 7, 8]" in told[0]


def test_an_option_is_what_works_with_it() -> None:
    def write(_walk: Walk, stop: Stop) -> None:
        if stop.reason == "function breakpoint" and stop.place.step == 1:
            assert stop.generation.tape is not None
            (warmer,) = [p for p in stop.generation.tape.logits_processor if hasattr(p, "temperature")]
            warmer.temperature = 1.5

    for what in ("option:temperature", "option:TemperatureLogitsWarper.temperature"):
        stops, told = run(on(what), "after:sample", then=write, **SAMPLED)
        assert [stop for stop in stops if stop.startswith("data")] == ["data breakpoint: step 2"]
        assert f"{what.replace(':', ' ')}: 0.8 → 1.5 (last seen before sample in step 1)" in told


def test_the_probability_of_a_token_is_that_of_the_choice() -> None:
    token = 17
    output = tiny_model("llama").generate(
        input_ids=PROMPTS, **{**LONG, "output_scores": True, "return_dict_in_generate": True}
    )
    probs = torch.stack([torch.softmax(scores.double(), -1)[:, token] for scores in output.scores])  # (steps, B)
    step, sequence = [int(i) for i in torch.unravel_index(probs.argmax(), probs.shape)]
    limit = float(probs.flatten().topk(2).values.mean())
    seen: list[int] = []
    stops, told = run(
        on(f"probability:{token}", f"value > {limit!r}"),
        prompts=PROMPTS,
        then=lambda _walk, stop: seen.append(stop.sequence),
    )
    assert stops == [f"data breakpoint: before sample in step {step}"]
    assert seen == [sequence], "each sequence has its own"
    assert f"in sequence {sequence + 1}" in told[0]
    assert f"{float(probs[step, sequence]):.6g}" in told[0]
    other = 1 - sequence
    assert run(on(f"probability:{token}[{other}]", f"value > {limit!r}"), prompts=PROMPTS)[0] == []


# --- the run itself


@pytest.mark.parametrize("options", [LONG, SAMPLED], ids=["greedy", "sampled"])
def test_a_run_is_the_same_to_the_last_bit_whatever_is_watched(options: dict[str, Any]) -> None:
    model = tiny_model("llama")
    torch.manual_seed(0)
    expected = model.generate(input_ids=PROMPTS, **{**options, "output_scores": True, "return_dict_in_generate": True})
    watched = [on(f"parameter:{DOWN}.weight"), on("activation:model.layers.0"), on("cache:0.keys[0, 0, 0]")]
    watched += [on("option:temperature"), on("probability:7", "change > 1e-4")]

    def look(walk: Walk, stop: Stop) -> None:
        walk.look_at_everything(stop)

    for breakpoints, then in ((watched[:1] + watched[2:4], None), (watched, look)):
        walk = Walk(Loaded(model, tiny_tokenizer()), None, breakpoints)
        walk._decide = lambda stop, walk=walk, then=then: (then and then(walk, stop)) or Motion.RUN  # type: ignore[misc]
        torch.manual_seed(0)
        got = walk.generate(input_ids=PROMPTS, **{**options, "output_scores": True, "return_dict_in_generate": True})
        assert torch.equal(got.sequences, expected.sequences)
        assert all(map(torch.equal, got.scores, expected.scores))
        assert bool(walk.stops) is (then is not None)


def test_what_a_look_runs_again_is_not_seen() -> None:
    plain, _ = run(on("activation:model.layers.0[0, -1]"))

    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.tape is not None
        stop.generation.tape.replay(0)
        walk.look_at_everything(stop)

    assert run(on("activation:model.layers.0[0, -1]"), then=look)[0] == plain


# --- going back


def test_going_back_leads_to_where_the_value_changed_and_forward_it_changes_again() -> None:
    moves: list[str] = []
    plan = iter(["back", "back", "on", "on", "on"])

    def then(walk: Walk, stop: Stop) -> Motion | Destination | None:
        if stop.place.step < 3 and not moves:
            return None
        move = next(plan, "on")
        moves.append(move)
        return Traveller(walk.stepper, stop).last_hit() if move == "back" else None

    stops, told = run(on("activation:model.layers.1[0, -1, 3]", hits=">= 1"), then=then)
    assert [int(stop[-1]) for stop in stops] == [1, 2, 3, 2, 1, 2, 3, 4]
    assert {stop.rpartition(" in ")[0] for stop in stops} == {"data breakpoint: after model.layers.1"}
    assert told[3:5] == [told[1], told[0]]
    assert told[5:7] == told[1:3]


def test_back_to_a_write_of_a_parameter_though_it_does_not_go_back() -> None:
    plan = iter([None, None, "back", None, None])

    def then(walk: Walk, stop: Stop) -> Motion | Destination | None:
        move = next(plan, None)
        if stop.reason == "function breakpoint" and stop.place.step == 1:
            with torch.no_grad():
                walk.loaded.model.get_submodule(DOWN).weight.data[0, 0] = 5.0
        return Traveller(walk.stepper, stop).last_hit() if move else None

    at = Wanted(0, "model.layers.1.mlp", condition="step == 1")
    stops, told = run(at, on(f"parameter:{DOWN}.weight[0, 0]"), Wanted(0, "step", condition="step == 3"), then=then)
    assert stops == [
        "function breakpoint: before model.layers.1.mlp in step 1",
        f"data breakpoint: before {DOWN} in step 1",
        "function breakpoint: step 3",
        f"data breakpoint: before {DOWN} in step 1",
        "function breakpoint: step 3",
    ]
    assert told[3] == told[1]
    assert "→ 5 (last seen at step 1)" in told[1]


def test_a_second_look_at_a_step_sees_no_change_twice() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan
    watched = on("activation:model.layers.0[0, -1, 3]")
    stops, _ = run(watched, Wanted(0, "nonFinite", "exception"), model=model)
    seen = [stop for stop in stops if stop.startswith("data")]
    assert seen == [f"data breakpoint: after model.layers.0 in step {step}" for step in range(1, STEPS)]


def test_in_beam_search_an_activation_is_watched_from_call_to_call() -> None:
    walk = Walk(Loaded(tiny_model("llama"), None), breakpoints=[on("activation:model.layers.0[0, -1, 3]")])
    options = {"num_beams": 2, "max_new_tokens": 3, "disable_compile": True}
    call = WholeCall(
        walk.stepper,
        Generation(),
        torch.device("cpu"),
        lambda: walk.loaded.model.generate(input_ids=PROMPTS[1:], **options),
    )
    call.run()
    walk.stepper.end()
    assert walk.stops == [f"data breakpoint: after model.layers.0 in step {step}" for step in (1, 2)]


# --- what cannot be watched


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("parameter:model.norm.wieght", "no parameter or buffer 'model.norm.wieght'; did you mean 'model.norm.weight'"),
        ("parameter:model.norm.weight[99]", "cannot be read: index 99 is out of bounds"),
        ("activation:model.layers", "is a list of modules, which is not called itself"),
        ("activation:model.layerz.0", "no module 'model.layerz.0'; did you mean"),
        ("cache:9.keys", "no layer 9: this model has 2, counted from 0"),
        ("cache:keys", "no entry of a cache 'keys': write cache:2.keys"),
        ("option:temprature", "no sampling option 'temprature'; did you mean 'temperature'"),
        ("probability:1000000", "there is no token 1000000"),
        ("probability:5[0, 1]", "the index of a probability is the number of a sequence"),
        ("nothing.here", "no parameter, buffer, module or option 'nothing.here'"),
        ("a[x]", "is nothing to watch: write parameter:"),
    ],
)
def test_what_cannot_be_watched_says_why(what: str, says: str) -> None:
    (placed,) = Walk(Loaded(tiny_model("llama"), tiny_tokenizer())).place(on(what))
    assert placed.problem is not None
    assert says in placed.problem


def test_a_value_that_cannot_be_read_switches_the_breakpoint_off_and_not_the_run() -> None:
    stops, _ = run(on("activation:model.layers.0[0, -1, 3]", "value.nothing > 3"))
    assert stops == ["exception: after model.layers.0 in step 0"]


def test_what_is_not_there_yet_is_waited_for() -> None:
    stops, _ = run(on("cache:0.keys[0, 0, 8, 0]", "value != 1000"))
    assert stops == ["data breakpoint: after model.layers.0 in step 3"], "the ninth token of a prompt of six"
