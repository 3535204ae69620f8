"""Stepping operation by operation, forth and back: the operations of a run without a debugger, to the last bit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from transformers import set_seed

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import resolve, resolve_address
from dap_server.engine.execution.operations import NOT_RUN
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Destination, Traveller
from tests.engine.execution.recorded import Recorded, copied, recorded
from tests.engine.walk import Walk
from tests.models.tiny import VOCABULARY, tiny_model

ATTENTION = "model.layers.0.self_attn"
PROMPT = "The capital of France is"


def ask(loaded: Loaded, **options: Any) -> dict[str, Any]:
    return {**loaded.tokenizer(PROMPT, return_tensors="pt"), "max_new_tokens": 3, "disable_compile": True, **options}


def attention_of(loaded: Loaded) -> list[list[Recorded]]:
    """Its operations in each of three steps, without the debugger."""
    with recorded(loaded.model.get_submodule(ATTENTION)) as calls:
        loaded.model.generate(**ask(loaded))
    return calls


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def is_inside(stop: Stop) -> bool:
    return stop.operation is not None and ATTENTION in stop.operation.site.modules


def test_a_whole_attention_module_is_stepped_through_operation_by_operation(atlas: Loaded) -> None:
    expected = attention_of(atlas)
    seen: list[tuple[str, list[Tensor]]] = []
    results: list[tuple[str, list[Tensor]]] = []

    def decide(stop: Stop) -> Motion:
        if stop.returned is not None and "::" in stop.returned[0]:
            results.append((stop.returned[0], copied(stop.returned[1])))
        if stop.operation is None:
            return Motion.OPERATION
        if not is_inside(stop):
            return Motion.RUN
        assert stop.operation.result is NOT_RUN
        assert stop.place.path == stop.operation.site.path
        seen.append((stop.operation.full_name, copied([stop.operation.args, stop.operation.kwargs])))
        return Motion.OPERATION

    walk = Walk(atlas, decide, [ATTENTION])
    walk.generate(**ask(atlas))
    flat = [operation for call in expected for operation in call]
    assert [name for name, _ in seen] == [operation.name for operation in flat]
    assert [name for name, _ in results] == [operation.name for operation in flat]
    for (_, given), (_, gave), operation in zip(seen, results, flat, strict=True):
        assert equal(given, operation.given), operation.name
        assert equal(gave, operation.gave), operation.name


@pytest.mark.parametrize("kind", ["bart", "opt", "mixtral", "mamba"])
def test_being_watched_adds_no_operation_and_hides_none(kind: str) -> None:
    model = tiny_model(kind)
    asked = {"input_ids": torch.arange(3, 10)[None], "max_new_tokens": 2, "disable_compile": True}
    with recorded(model) as calls:
        model.generate(**asked)
    seen: list[list[str]] = [[], []]

    def decide(stop: Stop) -> Motion:
        if stop.operation is not None:
            seen[stop.place.step].append(stop.operation.full_name)
        return Motion.OPERATION

    Walk(Loaded(model, None), decide, ["step"]).generate(**asked)
    assert seen == [[operation.name for operation in call] for call in calls]


def stepping(loaded: Loaded, motions: list[Motion], breakpoints: list[str]) -> list[str]:
    plan = iter(motions)
    walk = Walk(loaded, lambda _: next(plan, Motion.RUN), breakpoints)
    walk.generate(**ask(loaded))
    return [stop.partition(": ")[2].removesuffix(" in step 0") for stop in walk.stops]


def test_without_granularity_an_operation_is_left_by_module(atlas: Loaded) -> None:
    first = f"before aten::t of {ATTENTION}.q_proj"
    assert stepping(atlas, [Motion.OPERATION, Motion.NEXT], [ATTENTION])[1:3] == [first, f"after {ATTENTION}.q_proj"]
    inside = [f"{ATTENTION}/aten::transpose"]
    assert stepping(atlas, [Motion.NEXT], inside)[1] == f"before {ATTENTION}.k_proj"
    assert stepping(atlas, [Motion.OUT], inside)[1].startswith("before aten::transpose"), "breakpoints come first"
    stops = stepping(atlas, [Motion.OPERATION] * 6 + [Motion.OUT], [ATTENTION])
    assert stops[-4:-2] == [f"before aten::transpose.int of {ATTENTION}", f"after {ATTENTION}"]


def test_out_by_operation_goes_to_the_first_one_behind_the_module(atlas: Loaded) -> None:
    stops = stepping(atlas, [Motion.OPERATION, Motion.OPERATION_OUT, Motion.OPERATION_OUT], [ATTENTION])
    assert stops[1:4] == [
        f"before aten::t of {ATTENTION}.q_proj",
        f"before aten::view of {ATTENTION}",
        "before aten::add.Tensor of model.layers.0",
    ]


def test_behind_the_last_operation_of_the_model_comes_the_choice_of_the_token(atlas: Loaded) -> None:
    stops = stepping(atlas, [Motion.OPERATION_OUT, Motion.OPERATION], ["lm_head"])
    assert stops[:2] == ["before lm_head", "before logits"]


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("aten::silu", [f"before aten::silu of model.layers.{i}.mlp.act_fn" for i in range(6)]),
        ("*.layers.2.mlp/aten::silu", ["before aten::silu of model.layers.2.mlp.act_fn"]),
        ("after:*.layers.2.mlp/aten::silu", ["after aten::silu of model.layers.2.mlp.act_fn"]),
        ("LlamaMLP/aten::si*", [f"before aten::silu of model.layers.{i}.mlp.act_fn" for i in range(6)]),
        ("*.layers.1/aten::add.Tensor", None),
        ("*.self_attn/aten::silu", []),
        ("aten::erfinv", []),
    ],
)
def test_a_breakpoint_on_an_operation_stops_there(atlas: Loaded, name: str, stops: list[str] | None) -> None:
    walk = Walk(atlas, breakpoints=[name])
    assert walk.stepper.breakpoints.all[0].is_verified
    walk.generate(**ask(atlas, max_new_tokens=1))
    places = [stop.removeprefix("function breakpoint: ").removesuffix(" in step 0") for stop in walk.stops]
    assert places == stops if stops is not None else len(places) > 2


def test_a_result_is_there_behind_an_operation(atlas: Loaded) -> None:
    results: list[bool] = []

    def decide(stop: Stop) -> Motion:
        assert stop.operation is not None
        given, result = stop.operation.args[0], stop.operation.result
        results.append(torch.equal(result, torch.nn.functional.silu(given)))
        return Motion.RUN

    Walk(atlas, decide, ["after:aten::silu"]).generate(**ask(atlas, max_new_tokens=1))
    assert results == [True] * 6


@pytest.mark.parametrize(
    ("name", "problem", "note"),
    [
        ("aten::sofmax", "torch knows no operation 'aten::sofmax'; did you mean 'aten::softmax'", None),
        ("nowhere/aten::silu", "matches 'nowhere'", None),
        ("aten::sil", "did you mean 'aten::silu'", None),
        ("aten::softmax", None, "runs as aten::_softmax"),
        ("aten::linear", None, "made of other operations"),
    ],
)
def test_what_torch_does_not_know_is_said_at_once(
    atlas: Loaded, name: str, problem: str | None, note: str | None
) -> None:
    breakpoint = resolve(1, name, Walk(atlas).anatomy)
    assert breakpoint.is_verified == (problem is None)
    assert (problem or note or "") in str(breakpoint.message)


def test_softmax_is_found_where_the_model_runs_it(atlas: Loaded) -> None:
    model = tiny_model("llama", attn_implementation="eager")
    walk = Walk(Loaded(model, atlas.tokenizer), breakpoints=["aten::softmax"])
    walk.generate(input_ids=torch.arange(3, 9)[None], max_new_tokens=1, disable_compile=True)
    assert [stop.partition(" of ")[0] for stop in walk.stops] == ["function breakpoint: before aten::_softmax"] * 2


def test_an_address_is_a_breakpoint_in_every_run(atlas: Loaded) -> None:
    found: dict[str, int] = {}

    def decide(stop: Stop) -> Motion:
        if stop.operation is not None:
            found.setdefault(str(stop.place), stop.operation.site.address)
        return Motion.OPERATION if stop.place.step == 0 and len(found) < 12 else Motion.RUN

    Walk(atlas, decide, ["*.layers.3"]).generate(**ask(atlas))
    for place, address in found.items():
        walk = Walk(atlas)
        walk.stepper.set_breakpoints([resolve_address(1, hex(address), walk.stepper.regions)])
        walk.generate(**ask(atlas, max_new_tokens=2))
        expected = [place, place.replace("step 0", "step 1")]
        assert walk.stops == [f"instruction breakpoint: {place}" for place in expected]


def test_a_module_has_an_address_where_it_begins_and_ends(atlas: Loaded) -> None:
    walk = Walk(atlas)
    regions = walk.stepper.regions
    addresses = [regions.address("model.norm", "before"), regions.address("model.norm", "after")]
    walk.stepper.set_breakpoints([resolve_address(i, str(a), regions) for i, a in enumerate(addresses, start=1)])
    walk.generate(**ask(atlas, max_new_tokens=1))
    assert walk.stops == [f"instruction breakpoint: {phase} model.norm in step 0" for phase in ("before", "after")]
    assert not resolve_address(1, "0x7fffffffffff", regions).is_verified
    assert not resolve_address(1, "main+3", regions).is_verified


# --- back


class ByOperation:
    """Goes on by operation to the end of a module, then back by operation to where it began, and on by it again."""

    def __init__(self, walk: Callable[[], Walk], count: int) -> None:
        self._walk, self._count = walk, count
        self.way: list[str] = []
        self.operands: dict[str, list[Tensor]] = {}
        self.forth: list[str] = []
        self.back: list[str] = []
        self.again: list[str] = []

    def __call__(self, stop: Stop) -> Motion | Destination:
        place = f"{stop.place} {stop.operation.site.address:x}" if stop.operation else str(stop.place)
        if stop.operation is not None:
            given = copied([stop.operation.args, stop.operation.kwargs])
            assert equal(given, self.operands.setdefault(place, given)), place
        if len(self.forth) < self._count:
            self.forth.append(place)
            if len(self.forth) < self._count:
                return Motion.OPERATION
        elif len(self.back) < self._count - 1:
            self.back.append(place)
        else:
            self.again.append(place)
        if len(self.back) < self._count - 1:
            return Traveller(self._walk().stepper, stop).back_by_operation()
        return Motion.OPERATION if len(self.again) < self._count else Motion.RUN


@pytest.mark.parametrize("start", ["*.layers.1.self_attn", "*.layers.5.mlp.down_proj"])
def test_back_by_operation_goes_the_same_way(atlas: Loaded, start: str) -> None:
    expected = atlas.model.generate(**ask(atlas))
    walk: Walk
    journey = ByOperation(lambda: walk, 40)
    walk = Walk(atlas, journey, [start])

    def decide(stop: Stop) -> Motion | Destination:
        walk.stepper.set_breakpoints([])
        return journey(stop)

    walk._decide = decide
    assert torch.equal(walk.generate(**ask(atlas)), expected)
    operations = [place for place in journey.forth if "::" in place]
    back = [place for place in journey.back if "::" in place]
    assert back[: len(operations) - 1] == operations[-2::-1]
    assert "::" in journey.again[-1]
    assert not _get_current_dispatch_mode_stack()


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("back", f"before {ATTENTION}.q_proj"),
        ("back_out", f"before {ATTENTION}"),
        ("back_in", f"after {ATTENTION}.q_proj"),
    ],
)
def test_going_back_without_granularity_goes_by_module(atlas: Loaded, way: str, place: str) -> None:
    walk: Walk

    def decide(stop: Stop) -> Motion | Destination:
        walk.stepper.set_breakpoints([])
        if stop.operation is None:
            return Motion.RUN
        found: Destination = getattr(Traveller(walk.stepper, stop), way)()
        return found

    walk = Walk(atlas, decide, [f"{ATTENTION}/aten::transpose"])
    walk.generate(**ask(atlas))
    assert walk.stops[1] == f"step: {place} in step 0"


def test_reverse_continue_stops_at_operations_and_modules_in_their_order(atlas: Loaded) -> None:
    walk: Walk
    forth: list[str] = []
    back: list[str] = []

    def decide(stop: Stop) -> Motion | Destination:
        if len(forth) < 14:
            forth.append(str(stop.place))
        else:
            back.append(str(stop.place))
        if len(back) < 13 and len(forth) == 14:
            return Traveller(walk.stepper, stop).last_hit()
        return Motion.RUN

    names = ["*.layers.[0-2].mlp/aten::silu", "after:aten::_log*", "*.layers.1.mlp", "after:*.layers.2.mlp/aten::silu"]
    walk = Walk(atlas, decide, names)
    walk.generate(**ask(atlas))
    assert len(forth) == 14
    assert back[:13] == forth[-2::-1]


# --- fidelity


@pytest.mark.parametrize(
    ("kind", "attention"),
    [
        ("llama", "sdpa"),
        ("llama", "eager"),
        ("gpt2", "sdpa"),
        ("gemma2", "eager"),
        ("mixtral", "sdpa"),
        ("qwen3_moe", "eager"),
        ("mamba", None),
    ],
)
@pytest.mark.parametrize("is_sampled", [False, True], ids=["greedy", "sampled"])
def test_tokens_are_those_of_a_run_without_a_debugger(kind: str, attention: str | None, is_sampled: bool) -> None:
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    model = tiny_model(kind, **options)
    ids = torch.randint(3, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(1))
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "do_sample": is_sampled}
    asked |= {"disable_compile": True, "return_dict_in_generate": True, "output_logits": True}
    set_seed(3)
    expected = model.generate(**asked)
    state = torch.get_rng_state()
    count = 0

    def decide(stop: Stop) -> Motion | Destination:
        nonlocal count
        count += 1
        if count % 15 == 0:
            assert walk.look_at_everything(stop) > 5
        if count % 40 == 0:
            return Traveller(walk.stepper, stop).back_by_operation()
        return [Motion.OPERATION, Motion.OPERATION, Motion.NEXT, Motion.OPERATION_OUT, Motion.OUT][count % 5]

    walk = Walk(Loaded(model, None), decide, ["*.0", "aten::erfinv", "after:aten::tanh"])
    set_seed(3)
    actual = walk.generate(**asked)
    assert torch.equal(actual.sequences, expected.sequences)
    assert all(map(torch.equal, actual.logits, expected.logits))
    assert torch.equal(torch.get_rng_state(), state)
    assert count > 50
    assert not _get_current_dispatch_mode_stack()
    assert sys.getprofile() is None


def test_no_mode_is_installed_unless_somebody_steps_by_operation(atlas: Loaded) -> None:
    modes: list[int] = []
    walk = Walk(atlas, lambda _: Motion.NEXT, ["*.layers.2"])

    def look(*_: Any) -> None:
        modes.append(len(_get_current_dispatch_mode_stack()))

    handle = atlas.model.get_submodule("model.layers.4").register_forward_hook(look)
    walk.generate(**ask(atlas))
    walk = Walk(atlas, breakpoints=["aten::erfinv"])
    walk.generate(**ask(atlas))
    handle.remove()
    assert modes == [0, 0, 0, 1, 1, 1]
