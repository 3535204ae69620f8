"""Where each motion stops: the state machine on the example model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import NOTHING, Interruption, Motion, Stop
from tests.engine.walk import Walk

LAYER = "model.layers.2"


def walk(
    loaded: Loaded, breakpoints: list[str], motions: list[Motion], check: Callable[[Stop], None] | None = None
) -> list[str]:
    """The places of the stops of a three-token run, when going on by these motions and then freely."""
    plan = iter(motions)

    def decide(stop: Stop) -> Motion:
        if check is not None:
            check(stop)
        return next(plan, Motion.RUN)

    harness = Walk(loaded, decide, breakpoints)
    inputs = loaded.tokenizer("The capital of France is", return_tensors="pt")
    harness.generate(**inputs, max_new_tokens=3, disable_compile=True)
    return [stop.partition(": ")[2] for stop in harness.stops]


def test_next_goes_from_layer_to_layer_then_on_to_what_follows_the_stack(atlas: Loaded) -> None:
    stops = walk(atlas, ["*.layers.4"], [Motion.NEXT] * 6 + [Motion.RUN])
    assert stops[:7] == [
        "before model.layers.4 in step 0",
        "before model.layers.5 in step 0",
        "before model.norm in step 0",
        "after model in step 0",
        "before lm_head in step 0",
        "after the model in step 0",
        "before logits in step 0",
    ]


def test_next_at_a_step_goes_to_the_next_token(atlas: Loaded) -> None:
    assert walk(atlas, ["step"], [Motion.NEXT] * 3) == ["step 0", "step 1", "step 2"]


def test_step_in_goes_into_the_first_module_that_is_called(atlas: Loaded) -> None:
    stops = walk(atlas, ["*.layers.2"], [Motion.IN] * 4 + [Motion.RUN])
    assert stops[1:5] == [
        f"before {LAYER}.input_layernorm in step 0",
        f"before {LAYER}.self_attn in step 0",
        f"before {LAYER}.self_attn.q_proj in step 0",
        f"before {LAYER}.self_attn.k_proj in step 0",
    ]


def test_step_out_goes_to_the_end_of_the_module_around_at_every_depth(atlas: Loaded) -> None:
    stops = walk(atlas, [f"{LAYER}.self_attn.v_proj"], [Motion.OUT] * 5)
    assert stops[:6] == [
        f"before {LAYER}.self_attn.v_proj in step 0",
        f"after {LAYER}.self_attn in step 0",
        f"after {LAYER} in step 0",
        "after model in step 0",
        "after the model in step 0",
        "step 1",
    ]


def test_a_breakpoint_inside_stops_a_next_over_it(atlas: Loaded) -> None:
    stops = walk(atlas, ["*.layers.2", f"{LAYER}.mlp.act_fn"], [Motion.NEXT])
    assert stops[:2] == [f"before {LAYER} in step 0", f"before {LAYER}.mlp.act_fn in step 0"]


def test_after_breakpoints_hold_the_output(atlas: Loaded) -> None:
    outputs: list[object] = []
    stops = walk(atlas, ["after:*.layers.2"], [], lambda stop: outputs.append(stop.output))
    assert stops == [f"after {LAYER} in step {i}" for i in range(3)]
    assert NOTHING not in outputs


def test_next_holds_the_output_of_the_module_that_it_stepped_over(atlas: Loaded) -> None:
    returned: list[str] = []

    def check(stop: Stop) -> None:
        returned.append(stop.returned[0] if stop.returned else "-")

    walk(atlas, ["*.layers.2"], [Motion.NEXT, Motion.NEXT], check)
    assert returned[:3] == ["-", "model.layers.2", "model.layers.3"]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("LlamaMLP", 6),
        ("*.layers.*.self_attn", 6),
        ("**.mlp.*", 24),
        ("LlamaForCausalLM", 1),
        ("lm_head", 1),
        ("*.layers.[0-2]", 3),
        ("*Norm", 13),
    ],
)
def test_a_breakpoint_name_stands_for_paths_globs_and_classes(atlas: Loaded, name: str, places: int) -> None:
    assert len(Walk(atlas, breakpoints=[name]).stepper.breakpoints.all[0].paths) == places


def test_unknown_names_come_with_the_nearest_ones(atlas: Loaded) -> None:
    breakpoint = Walk(atlas, breakpoints=["model.layer.3"]).stepper.breakpoints.all[0]
    assert not breakpoint.is_verified
    assert "'model.layers.3'" in str(breakpoint.message)


def test_token_selection_is_passed_place_by_place(atlas: Loaded) -> None:
    plan = iter([Motion.NEXT] * 6)
    harness = Walk(atlas, lambda _: next(plan, Motion.RUN), ["logits"])
    inputs = atlas.tokenizer("one two", return_tensors="pt")
    harness.generate(**inputs, max_new_tokens=1, do_sample=True, temperature=0.5, top_k=5, disable_compile=True)
    assert [stop.partition(": ")[2] for stop in harness.stops] == [
        "before logits in step 0",
        "before TemperatureLogitsWarper in step 0",
        "before TopKLogitsWarper in step 0",
        "before sample in step 0",
    ]


def test_a_run_that_is_paused_before_it_begins_stops_at_its_first_step(atlas: Loaded) -> None:
    harness = Walk(atlas)
    harness.stepper.pause("entry")
    harness.generate(**atlas.tokenizer("one two", return_tensors="pt"), max_new_tokens=1, disable_compile=True)
    assert harness.stops == ["entry: step 0"]


def test_an_interruption_that_comes_as_the_run_parks_is_not_lost(atlas: Loaded) -> None:
    class Interrupted(Interruption):
        pass

    harness = Walk(atlas, breakpoints=["*.layers.2"])
    park = harness.stepper.stage.park

    def interrupted_park(parked: Callable[[], None]) -> None:
        harness.stepper.interrupt(Interrupted())  # after the run was found to go on, before it is parked
        park(parked)

    harness.stepper.stage.park = interrupted_park  # type: ignore[method-assign]  # between two lines of the stepper
    with pytest.raises(Interrupted):
        harness.generate(**atlas.tokenizer("one two", return_tensors="pt"), max_new_tokens=2, disable_compile=True)
    assert harness.stops == []
