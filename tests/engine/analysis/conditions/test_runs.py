"""Conditions, hit conditions and log messages in runs: where they stop, what they say, that they change nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import set_seed

from dap_server.engine.analysis.conditions.at_stops import StopNames
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.debuggee import Debuggee
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.stops import Failure
from dap_server.engine.execution.travel import Destination, Traveller
from dap_server.engine.inspection.evaluation import Evaluator
from dap_server.engine.inspection.frames import CallStack
from dap_server.modelmap.places import Place
from dap_server.protocol.launch import LaunchArguments
from tests.engine.execution.test_fidelity import equal
from tests.engine.walk import GREEDY, PROMPTS, Decide, Walk
from tests.models.tiny import tiny_model, tiny_tokenizer

LONG = {**GREEDY, "min_new_tokens": 4}


def run(
    *breakpoints: str | Wanted, decide: Decide | None = None, prompts: Tensor = PROMPTS[:1], name: str = "llama"
) -> Walk:
    """Four tokens of a tiny model; without a function that decides, it runs on from every stop."""
    walk = Walk(Loaded(tiny_model(name), tiny_tokenizer()), decide, breakpoints)
    walk.generate(input_ids=prompts, **LONG)
    return walk


def on(place: str, condition: str | None = None, hit: str | None = None, log: str | None = None) -> Wanted:
    return Wanted(0, place, condition=condition, hit_condition=hit, log_message=log)


def places(walk: Walk) -> list[str]:
    return [stop.partition(": ")[2] for stop in walk.stops]


# --- where they stop


def test_a_condition_stops_where_it_is_true() -> None:
    assert places(run(on("*.layers.*", "layer == 1 and step in (1, 3)"))) == [
        "before model.layers.1 in step 1",
        "before model.layers.1 in step 3",
    ]


def test_its_names_decide_the_phase() -> None:
    assert places(run(on("*.layers.0", "output is not None and step == 2"))) == ["after model.layers.0 in step 2"]
    assert places(run(on("sample", "token >= 0 and step == 2"))) == ["after sample in step 2"]


def test_the_path_of_the_whole_model_is_what_maps_call_it() -> None:
    seen: list[str] = []

    def decide(stop: Stop) -> Motion:
        (frame,) = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)
        evaluator = Evaluator(walk.anatomy, None, walk.scopes.locals)
        seen.extend([str(StopNames(frame, walk.anatomy, walk.vocabulary)["path"]), evaluator.evaluate("path", frame)])
        return Motion.RUN

    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()), decide, [on(".", "path == '.' and step == 1")])
    walk.generate(input_ids=PROMPTS[:1], **LONG)
    assert places(walk) == ["before the model in step 1"]
    assert seen == [".", "."]


def test_the_stop_is_in_the_first_sequence_for_which_it_is_true() -> None:
    seen: list[tuple[int, list[int]]] = []

    def decide(stop: Stop) -> Motion:
        seen.append((stop.sequence, stop.hits))
        return Motion.RUN

    run("after:logits", on("after:logits", "sequence == 1"), decide=decide, prompts=PROMPTS)
    assert seen == [(1, [1, 2])] * 4


def test_a_sequence_that_has_ended_has_no_say() -> None:
    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()), None, [on("sample", log="{sequence}")])
    ids = walk.generate(input_ids=PROMPTS, **GREEDY)
    alive = [[s for s in range(2) if step == 0 or 2 not in ids[s, 6 : 6 + step].tolist()] for step in range(4)]
    assert walk.said == [f"[sequence {s + 1}] {s}" for step in alive for s in step]
    assert len(walk.said) < 8


@pytest.mark.parametrize(
    ("hit", "steps"), [("3", [2]), (">= 3", [2, 3]), ("% 2", [1, 3]), ("% 2 == 1", [0, 2]), ("<= 1", [0])]
)
def test_hit_conditions_count_what_meets_the_condition(hit: str, steps: list[int]) -> None:
    assert places(run(on("*.layers.1", hit=hit))) == [f"before model.layers.1 in step {step}" for step in steps]
    walk = run(on("*.layers.*", "layer == 1", hit=hit))
    assert places(walk) == [f"before model.layers.1 in step {step}" for step in steps]


def test_every_run_counts_from_the_beginning() -> None:
    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()), None, [on("step", hit="2")])
    inputs = {"input_ids": PROMPTS[:1], **LONG}
    walk.generate(**inputs)
    walk = Walk(walk.loaded, None, [on("step", hit="2")])
    walk.generate(**inputs)
    assert places(walk) == ["step 1"]


def test_conditions_stand_on_operations_too() -> None:
    walk = run(on("*.layers.0.mlp/aten::silu", "norm > 0 and step == 2"))
    assert places(walk) == ["before aten::silu of model.layers.0.mlp.act_fn in step 2"]


def test_a_step_stops_where_it_ends_whatever_a_condition_there_says() -> None:
    moves = iter([Motion.NEXT])
    walk = run("*.layers.0", on("*.layers.1", "norm > 1e9"), decide=lambda _stop: next(moves, Motion.RUN))
    assert walk.stops[:2] == [
        "function breakpoint: before model.layers.0 in step 0",
        "step: before model.layers.1 in step 0",
    ]


# --- what they say


def test_log_messages_do_not_stop() -> None:
    walk = run(on("*.layers.1", "step > 1", log="at {step} in {path!r}: {norm:.1f}"))
    assert walk.stops == []
    assert [line.partition(":")[0] for line in walk.said] == [f"at {step} in 'model.layers.1'" for step in (2, 3)]


def test_log_messages_come_at_the_hits_that_count() -> None:
    assert run(on("step", hit="% 2", log="{step}")).said == ["1", "3"]


def test_messages_about_sequences_say_which() -> None:
    walk = run(on("sample", "step == 1", log="{token}"), prompts=PROMPTS)
    assert [line.partition(" ")[0] + line[10] for line in walk.said] == ["[sequence1", "[sequence2"]
    assert run(on("step", log="{step}"), prompts=PROMPTS).said == ["0", "1", "2", "3"]


def test_a_message_that_raises_is_switched_off_and_the_run_goes_on() -> None:
    walk = run(on("step", log="{1 / (step - 1)}"))
    assert walk.stops == []
    assert walk.said == [
        "-1.0",
        "the log message of 'step' is switched off: ZeroDivisionError: division by zero (column 2 of the log message)",
    ]


# --- what they raise


@pytest.mark.parametrize(
    ("place", "condition", "error"),
    [
        ("*.layers.*", "1 / (layer - 1) < 0 and 1 / 0", "ZeroDivisionError: division by zero (column 25)"),
        ("*.layers.*", "output > 0", "ValueError: a tensor of shape (1, 6, 32) is neither true nor false"),
        ("*.layers.*", "attention(9).sum() > 0", "NotKnown: no head 9 in 'model.layers.0.self_attn': there are 0 to"),
        ("model.norm", "attention(0).sum() > 0", "NotKnown: attention is known where a module computes one"),
    ],
)
def test_what_raises_stops_once_and_is_switched_off(place: str, condition: str, error: str) -> None:
    failures: list[Failure] = []

    def decide(stop: Stop) -> Motion:
        if stop.failure is not None:
            failures.append(stop.failure)
            again, _ = walk.place(on(place, condition), "step")
            assert not again.is_verified  # set again as it was, when another one is changed
            assert not walk.stepper.breakpoints.by_id.keys() - {2}
        return Motion.RUN

    told: list[str | None] = []
    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()), decide, [on(place, condition), "step"])
    walk.stepper.judging.switched_off = lambda breakpoint: told.append(breakpoint.message)
    walk.generate(input_ids=PROMPTS[:1], **LONG)
    raised = [stop for stop in walk.stops if stop.startswith("exception")]
    assert len(raised) == 1
    (failure,) = failures
    assert failure.text.startswith(error)
    assert (failure.condition, failure.breakpoint, failure.error) == (condition, 1, error.partition(":")[0])
    assert len(told) == 1
    assert str(told[0]).startswith(f"switched off: {failure.text}, ")
    assert places(walk).count("step 3") == 1  # the other breakpoint is still there


def test_what_cannot_be_is_said_where_it_is_set() -> None:
    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()))
    for wanted, message in [
        (on("sample", "tokn > 3"), "no name 'tokn' here; did you mean 'token'"),
        (on("*.layers.0", "token > 3"), "`token` is not known at a module: set the breakpoint on `sample` (column 1)"),
        (on("before:*.layers.0", "output.any()"), "asks for before"),
        (on("step", hit="x"), "no hit condition"),
        (on("step", log="{step"), "never closed"),
        (on("*.mlp", "lens(3)[0] == 'a'"), "'lens' is known at the layers of a model only, such as model.layers.0"),
    ]:
        (placed,) = walk.place(wanted)
        assert message in str(placed.problem)


# --- that they change nothing

NEVER = [
    on("*.layers.*", "norm > 1e9"),
    on("*.layers.*", "output.isnan().any()"),
    on("*.layers.*", "torch.rand(3).sum() > 1e9"),
    on("*.layers.*", "output.zero_().sum() > 0"),
    on("*.layers.*", "torch.mul(output, 0.0, out=output).sum() > 0"),
    on("*.layers.*", "lens(1) == ['nothing']"),
    on("*.self_attn", "attention(0).max() > 2"),
    on("*.mlp", "input.sum() > 1e9"),
    on("aten::mm", "norm > 1e9"),
    on("after:logits", "entropy < 0"),
    on("sample", "token < 0 or text == 'nothing' or prob > 1 or top(2)[0][1] > 1"),
    on("sample", "probs.multinomial(1).item() < 0"),
    on("before:sample", "probs.zero_().sum() > 1 or logits.fill_(3.0).sum() < 0"),
    on("step", "step > 10**6"),
    on("*.layers.*", hit="1000000"),
    on("*.layers.*", log="{norm:.1f} {lens(1)} {torch.rand(1)}"),
]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "qwen3_next", "t5", "mamba"])
@pytest.mark.parametrize("options", [{}, {"do_sample": True, "temperature": 1.5}], ids=["greedy", "sampled"])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["one prompt", "batch"])
def test_a_run_with_conditions_that_never_hold_is_the_run_without(
    name: str, options: dict[str, Any], prompts: Tensor
) -> None:
    model = tiny_model(name)
    layers = {"gpt2": "*.h.*", "t5": "decoder.block.*"}.get(name, "*.layers.*")
    asked = {"input_ids": prompts, **LONG, **options}
    asked |= {"return_dict_in_generate": True, "output_scores": True, "output_hidden_states": True}
    set_seed(5)
    expected = model.generate(**asked)
    wanted = [on(w.name.replace("*.layers.*", layers), w.condition, w.hit_condition, w.log_message) for w in NEVER]
    walk = Walk(Loaded(model, tiny_tokenizer()), breakpoints=wanted)
    placed = [b for b in walk.stepper.breakpoints.all if b.is_verified]
    assert len(placed) >= 10
    set_seed(5)
    got = walk.generate(**asked)
    assert walk.stops == []
    assert equal(got, expected)
    assert [b.problem for b in placed] == [None] * len(placed)


def test_no_hook_is_left_and_nothing_patched() -> None:
    from transformers.modeling_utils import AttentionInterface

    before = AttentionInterface.get_interface
    walk = run(on("*.self_attn", "attention(0).max() > 2"), on("*.self_attn", "1 / 0 and attention(0)"))
    assert AttentionInterface.get_interface is before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in walk.loaded.model.modules())
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]


# --- back and forth

Move = Motion | Destination


def travel(moves: list[str], *breakpoints: str | Wanted, name: str = "llama") -> Walk:
    """Follows moves from stop to stop, `back` to the last hit or a motion by its name; then runs on."""
    left = iter(moves)
    walk: Walk

    def decide(stop: Stop) -> Move:
        move = next(left, "RUN")
        if move == "back":
            return Traveller(walk.stepper, stop).last_hit()
        if move == "step back":
            return Traveller(walk.stepper, stop).back()
        return Motion[move]

    walk = Walk(Loaded(tiny_model(name), tiny_tokenizer()), decide, breakpoints)
    walk.generate(input_ids=PROMPTS[:1], **LONG)
    return walk


LAST = on("before:sample", "step == 3")


@pytest.mark.parametrize("name", ["llama", "mistral"])
@pytest.mark.parametrize(
    "condition",
    [
        "layer == 1 and step in (0, 2) and norm > 0",
        "output.sum() != 0 and layer == 1 and step % 2 == 0",
        "len(lens(2)) == 2 and layer == 1 and step in (0, 2)",
        "abs(attention(0).sum() - 1) < 1e-3 and layer == 1 and step in (0, 2)",
    ],
)
def test_going_back_leads_to_where_the_condition_held(name: str, condition: str) -> None:
    walk = travel(["RUN", "RUN", "back", "back", "back"], on("*.layers.*", condition), LAST, name=name)
    phase = "after" if "output" in condition or "attention" in condition else "before"
    hits = [f"{phase} model.layers.1 in step {step}" for step in (2, 0)]
    assert places(walk)[2:6] == ["before sample in step 3", *hits, "step 0"]


def test_going_back_leads_to_the_choice_of_a_token() -> None:
    (token,) = run(on("sample", "step == 1", log="{token}")).said
    walk = travel(["back"], on("logits", "step == 3"), on("sample", f"token == {token} and step < 2"))
    assert places(walk)[0] == "after sample in step 1"  # as the run comes by
    walk = travel(["RUN", "back"], on("before:logits", "step == 3"), on("sample", f"token == {token} and step < 2"))
    assert places(walk)[1:3] == ["before logits in step 3", "after sample in step 1"]


def test_going_back_leads_to_operations_where_the_condition_held() -> None:
    silu = on("*.layers.1.mlp/aten::silu", "step == 1 and norm > 0")
    walk = travel(["RUN", "back"], silu, LAST)
    assert places(walk)[:3] == [
        "before aten::silu of model.layers.1.mlp.act_fn in step 1",
        "before sample in step 3",
        "before aten::silu of model.layers.1.mlp.act_fn in step 1",
    ]


def test_a_move_back_takes_hits_back() -> None:
    """Counted again on the way forward, each hit keeps its number."""
    every_second = on("*.layers.0", hit="% 2")
    expected = ["before model.layers.0 in step 1", "before model.layers.0 in step 3"]
    assert places(travel([], every_second)) == expected
    for back in range(1, 4):
        walk = travel(["RUN", *["step back"] * back], every_second, on("step", "step == 3"))
        again = expected[:1] if 3 - back <= 1 else []
        assert places(walk)[: 2 + back] == [expected[0], "step 3", *(f"step {3 - n}" for n in range(1, back + 1))]
        assert places(walk)[2 + back :] == [*again, "step 3", expected[1]]


def test_going_back_leads_to_the_hits_that_counted() -> None:
    walk = travel(["RUN", "RUN", "back", "back", "back"], on("*.layers.0", hit="% 2"), LAST)
    hits = ["before model.layers.0 in step 1", "before model.layers.0 in step 3"]
    assert places(walk)[:6] == [*hits, "before sample in step 3", *reversed(hits), "step 0"]


def test_what_was_passed_before_it_was_set_has_no_number() -> None:
    moves = iter(["RUN", "RUN", "back", "back"])

    def decide(stop: Stop) -> Move:
        move = next(moves, "RUN")
        if len(walk.stops) == 1:
            walk.place(LAST, on("*.layers.0", hit=">= 1"))
        return Traveller(walk.stepper, stop).last_hit() if move == "back" else Motion[move]

    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()), decide, [on("before:sample", "step == 2")])
    walk.generate(input_ids=PROMPTS[:1], **LONG)
    assert places(walk)[:5] == [
        "before sample in step 2",
        "before model.layers.0 in step 3",
        "before sample in step 3",
        "before model.layers.0 in step 3",
        "step 0",
    ]
    assert places(walk)[5] == "before model.layers.0 in step 0"  # from here on it counts, as in every run


def test_what_is_passed_again_on_the_way_to_a_place_is_not_said_again() -> None:
    walk = travel(["step back"], on("*.layers.*", log="{step} {layer}"), on("after:*.layers.1", "step == 2"))
    first = [f"{step} {layer}" for step in range(3) for layer in range(2)]
    places_of_it = ["after model.layers.1 in step 2", "before model.layers.1 in step 2"]
    assert places(walk) == [*places_of_it, places_of_it[0]]
    assert walk.said == [*first, "3 0", "3 1"]


def test_places_ahead_are_said_on_the_way_past_them() -> None:
    def decide(stop: Stop) -> Move:
        ahead = Destination(Place(3, "step"), "goto")
        return ahead if stop.place.step == 0 else Motion.RUN

    walk = Walk(Loaded(tiny_model("llama"), tiny_tokenizer()), decide, ["step", on("*.layers.0", log="{step}")])
    walk.generate(input_ids=PROMPTS[:1], **LONG)
    assert walk.said == ["0", "1", "2", "3"]
    assert walk.stops[:2] == ["function breakpoint: step 0", "goto: step 3"]


@pytest.mark.parametrize(("name", "task"), [("llama", Task.CAUSAL), ("bert", Task.CLASSIFICATION)])
def test_other_loops_and_single_forwards_have_conditions_too(name: str, task: Task) -> None:
    """Beam search, and a classifier: their steps run again from the start of the call, with a lens in the middle."""
    stops: list[str] = []

    def stopped(stop: Stop) -> None:
        stops.append(str(stop.place))
        if len(stops) == 2:
            debuggee.stepper.travel(*Traveller(debuggee.stepper, stop).last_hit())
        else:
            debuggee.stepper.resume(Motion.RUN)

    model = tiny_model(name, "classification" if task is Task.CLASSIFICATION else None)
    debuggee = Debuggee(Loaded(model, tiny_tokenizer(), task), stopped, lambda _text: None)
    options = {"num_beams": 3, "max_new_tokens": 4, "min_new_tokens": 4} if task is Task.CAUSAL else {}
    launch = LaunchArguments(prompts=["abcdef", "ghijkl"], generation=options, stop_at_end=False)
    run = debuggee.prepare(launch)
    layer = debuggee.anatomy.layer_paths[1]
    step = 2 if options else 0
    debuggee.set_breakpoints(
        [
            Wanted(1, layer, condition=f"step == {step} and sequence == 1 and lens(1)[0] != ''"),
            Wanted(2, layer, condition=f"step == {step} and abs(attention(1).sum() - 1) < 1e-5"),
        ]
    )
    run.run()
    before, after = f"before {layer} in step {step}", f"after {layer} in step {step}"
    assert stops == [before, after, before, after]
