"""What is found out late stops the run exactly where it happened, and nobody has seen the token yet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Destination
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.modelmap.places import STEP, Place
from tests.engine.walk import GREEDY, PROMPTS, Walk
from tests.models.tiny import tiny_model

NON_FINITE = Wanted(0, "nonFinite", "exception")
RAISES = Wanted(0, "forwardError", "exception")
SAMPLED: dict[str, Any] = {"max_new_tokens": 5, "do_sample": True, "disable_compile": True}


def poisoned(token: int | None = None) -> Any:
    """A model with NaN in one weight, or in the embedding of one token."""
    model: Any = tiny_model("llama")
    with torch.no_grad():
        if token is None:
            model.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan
        else:
            model.model.embed_tokens.weight[token, 2] = torch.nan
    return model


def plain(model: Any, **options: Any) -> Tensor:
    torch.manual_seed(0)
    tokens: Tensor = model.generate(input_ids=PROMPTS, **options)
    return tokens


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_healthy_run_never_stops_and_is_the_same_to_the_last_bit(options: dict[str, Any]) -> None:
    model = tiny_model("llama")
    expected = plain(model, **options)
    walk = Walk(Loaded(model, None), breakpoints=[NON_FINITE, RAISES])
    torch.manual_seed(0)
    assert torch.equal(walk.generate(input_ids=PROMPTS, **options), expected)
    assert walk.stops == []
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_nan_in_a_weight_stops_at_its_module_before_anybody_sees_the_token(options: dict[str, Any]) -> None:
    model = poisoned()
    seen: list[int] = []

    def decide(stop: Stop) -> Motion:
        seen.append(len(walk.heard))
        walk.place()
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, [NON_FINITE])
    if options is GREEDY:
        assert torch.equal(walk.generate(input_ids=PROMPTS, **options), plain(model, **options))
    else:
        with pytest.raises(RuntimeError, match="probability tensor contains"):  # as it does without the debugger
            walk.generate(input_ids=PROMPTS, **options)
    assert walk.stops == ["exception: after model.layers.1.mlp.down_proj in step 0"]
    assert seen == [0]


def test_what_only_a_later_step_makes_stops_in_that_step() -> None:
    healthy = tiny_model("llama")
    token = int(plain(healthy, **GREEDY)[1, PROMPTS.shape[1] + 1])
    walk = Walk(Loaded(poisoned(token), None), breakpoints=[NON_FINITE])
    walk.generate(input_ids=PROMPTS[1:], **GREEDY)
    assert walk.stops[0] == "exception: after model.embed_tokens in step 2"


def test_it_stops_once_a_step_where_it_is_born_and_not_where_it_goes() -> None:
    walk = Walk(Loaded(poisoned(), None), breakpoints=[NON_FINITE])
    walk.generate(input_ids=PROMPTS, **GREEDY)
    assert walk.stops == [f"exception: after model.layers.1.mlp.down_proj in step {step}" for step in range(4)]


def test_a_stop_behind_it_waits_until_it_is_told() -> None:
    walk = Walk(Loaded(poisoned(), None), breakpoints=[NON_FINITE, "model.layers.0", "model.norm", "logits"])
    walk.generate(input_ids=PROMPTS, **{**GREEDY, "max_new_tokens": 1})
    assert walk.stops == [
        "function breakpoint: before model.layers.0 in step 0",
        "exception: after model.layers.1.mlp.down_proj in step 0",
        "function breakpoint: before model.norm in step 0",
        "function breakpoint: before logits in step 0",
    ]


def test_a_step_over_it_ends_where_it_happened() -> None:
    motions = iter([Motion.NEXT, Motion.RUN])
    walk = Walk(Loaded(poisoned(), None), lambda _stop: next(motions), [NON_FINITE, "model.layers.1"])
    walk.generate(input_ids=PROMPTS, **{**GREEDY, "max_new_tokens": 1})
    assert walk.stops == [
        "function breakpoint: before model.layers.1 in step 0",
        "exception: after model.layers.1.mlp.down_proj in step 0",
    ]


def test_hits_of_others_are_counted_once_though_the_step_ran_twice() -> None:
    counted = Wanted(0, "*.layers.*", hit_condition="5")
    walk = Walk(Loaded(poisoned(), None), breakpoints=[NON_FINITE, counted])
    walk.generate(input_ids=PROMPTS, **{**GREEDY, "max_new_tokens": 3})
    assert "function breakpoint: before model.layers.0 in step 2" in walk.stops


def test_in_beam_search_it_stops_where_it_happened() -> None:
    walk = Walk(Loaded(poisoned(), None), breakpoints=[NON_FINITE])
    options = {"num_beams": 2, "max_new_tokens": 2, "disable_compile": True}
    call = WholeCall(
        walk.stepper,
        Generation(),
        torch.device("cpu"),
        lambda: walk.loaded.model.generate(input_ids=PROMPTS, **options),
    )
    call.run()
    walk.stepper.end()
    assert walk.stops[0] == "exception: after model.layers.1.mlp.down_proj in step 0"


class Brittle(nn.Module):
    """Raises in its third call."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1 and bool((x.abs().sum() > 0).all()):
            width = x.shape[-1] + 1
            return x.reshape(-1, width)
        return self.inner(x)  # type: ignore[no-any-return]


def test_an_exception_in_a_forward_stops_where_it_is_raised_and_then_ends_the_run() -> None:
    model: Any = tiny_model("llama")
    model.model.layers[0].mlp.act_fn = Brittle(model.model.layers[0].mlp.act_fn)
    seen: list[Stop] = []

    def decide(stop: Stop) -> Motion:
        seen.append(stop)
        forward = stop.activations[0].forward
        assert forward is not None
        assert forward.f_locals["width"] == stop.activations[0].args[0].shape[-1] + 1
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, [RAISES])
    with pytest.raises(RuntimeError, match="invalid for input"):
        walk.generate(input_ids=PROMPTS, **GREEDY)
    assert walk.stops == ["exception: before model.layers.0.mlp.act_fn in step 1"]
    assert isinstance(seen[0].error, RuntimeError)
    assert [type(a.module).__name__ for a in seen[0].activations[:3]] == ["Brittle", "LlamaMLP", "LlamaDecoderLayer"]


def test_an_exception_that_does_not_come_again_swallows_no_breakpoint_behind_it() -> None:
    model: Any = tiny_model("llama")
    raised: list[bool] = []

    def once(_module: nn.Module, _args: Any) -> None:
        if not raised:
            raised.append(True)
            raise RuntimeError("only once")

    model.model.layers[1].mlp.register_forward_pre_hook(once)
    walk = Walk(Loaded(model, None), breakpoints=[RAISES, "model.layers.0", "model.norm", "after:sample"])
    walk.generate(input_ids=PROMPTS, **{**GREEDY, "max_new_tokens": 1})
    assert walk.stops == [
        "function breakpoint: before model.layers.0 in step 0",
        "function breakpoint: before model.norm in step 0",
        "function breakpoint: after sample in step 0",
    ]


CONDITIONS = {
    "true at the second layer": Wanted(0, "*.layers.*", condition="norm > 1e-3 and layer == 1 and step == 2"),
    "of tensors": Wanted(0, "*.mlp", condition="output.abs().max() > 0 and not step < 2"),
    "before": Wanted(0, "*.layers.1", condition="(residual.mean() < 10) and step >= 1", hit_condition="2"),
    "with hits": Wanted(0, "*.layers.*", condition="hidden.isfinite().all()", hit_condition="% 3 == 0"),
    "one that raises": Wanted(0, "*.layers.1", condition="output[0, 0, 5000] > 0"),
    "of the choice": Wanted(0, "sample", condition="entropy > 2 and step >= 1"),
    "of the token": Wanted(0, "sample", condition="prob < 0.9 and token != 5", hit_condition="3"),
    "never": Wanted(0, "*.layers.*", condition="norm > 1e9"),
}


@pytest.mark.parametrize("wanted", CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_that_are_read_once_a_step_stop_where_those_judged_at_once_do(wanted: Wanted) -> None:
    stops, messages = [], []
    for defers in (False, True):
        walk = Walk(Loaded(tiny_model("llama"), None))
        walk.stepper.defers = defers
        (placed,) = walk.place(wanted)
        messages.append(placed.judged)
        tokens = walk.generate(input_ids=PROMPTS, **GREEDY)
        assert torch.equal(tokens, plain(walk.loaded.model, **GREEDY))
        stops.append(walk.stops)
    assert stops[0] == stops[1]
    assert messages == ["at once", "once a step"]


def test_hits_counted_on_the_device_are_taken_back_with_the_run() -> None:
    def decide(stop: Stop) -> Motion | Destination:
        if len(walk.stops) == 1:
            return Destination(Place(0, STEP), "goto")
        return Motion.RUN

    walk = Walk(Loaded(tiny_model("llama"), None), decide)
    walk.stepper.defers = True
    walk.place(Wanted(0, "*.layers.*", condition="norm > 0", hit_condition="5"))
    walk.generate(input_ids=PROMPTS, **GREEDY)
    fifth = "function breakpoint: before model.layers.0 in step 2"
    assert walk.stops == [fifth, "goto: step 0", fifth]


def test_what_a_breakpoint_costs_is_measured_and_told() -> None:
    walk = Walk(Loaded(tiny_model("llama"), None))
    placed = walk.place(NON_FINITE, Wanted(0, "*.layers.*", condition="norm > 1e9"))
    walk.generate(input_ids=PROMPTS, **GREEDY)
    leaves = sum(1 for module in walk.loaded.model.modules() if not list(module.children()))
    screen, condition = (b.cost for b in placed)
    assert condition.evaluations == 2 * 4
    assert 0 < screen.evaluations <= leaves * 4
    assert condition.seconds > 0
    assert screen.seconds > 0
    assert placed[1].message == "2 places; judged at once"
