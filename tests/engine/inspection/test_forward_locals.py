"""Local names of every module's `forward`, whether it will run, runs or has run; and hovering over them."""

from __future__ import annotations

import linecache
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import forward_of
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection import hovering
from dap_server.engine.inspection.evaluation import Evaluator
from dap_server.engine.inspection.frames import CallStack, Frame
from dap_server.engine.inspection.hovering import EvaluationError
from dap_server.engine.inspection.variables import Row
from tests.engine.walk import GREEDY, PROMPTS, Walk, looking
from tests.models.tiny import tiny_model


def frames(walk: Walk, stop: Stop) -> list[Frame]:
    return CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)


def rows(walk: Walk, frame: Frame) -> dict[str, Row]:
    scope = next(scope for scope in walk.scopes.of(frame) if scope.name == "Locals")
    return {row.name: row for row in scope.children.named_rows()}


def evaluator(walk: Walk) -> Evaluator:
    return Evaluator(walk.anatomy, None, walk.scopes.locals)


def plain_locals(model: Any, path: str, call: int) -> dict[str, Any]:
    """What a profile function of the test's own sees in a plain run."""
    module = model.get_submodule(path)
    code = getattr(forward_of(type(module)), "__code__", None)
    seen: list[dict[str, Any]] = []

    def profile(frame: Any, event: str, _value: Any) -> None:
        if event == "return" and frame.f_code is code and frame.f_locals["self"] is module:
            seen.append({n: v.clone() for n, v in frame.f_locals.items() if isinstance(v, Tensor)})

    sys.setprofile(profile)
    try:
        model.generate(input_ids=PROMPTS, **GREEDY)
    finally:
        sys.setprofile(None)
    return seen[call]


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize(
    ("name", "path"),
    [("llama", "model.layers.1"), ("llama", "model.layers.0.self_attn"), ("gpt2", "transformer.h.1.mlp")],
)
def test_after_a_module_its_locals_are_those_at_its_return(name: str, path: str, step: int) -> None:
    model = tiny_model(name)
    expected = plain_locals(model, path, step)
    before = model.generate(input_ids=PROMPTS, **GREEDY)

    def look(walk: Walk, stop: Stop) -> None:
        frame = frames(walk, stop)[1]
        assert frame.kind == "forward"
        assert frame.source is not None
        assert "return" in linecache.getline(*frame.source)
        shown = rows(walk, frame)
        assert next(iter(shown)) == "by replay"
        assert shown["by replay"].value.endswith(f"at line {frame.source.line}")
        console = evaluator(walk)
        for tensor, value in expected.items():
            assert torch.equal(console.hover(tensor, frame), value), tensor
            assert torch.equal(console.evaluate(tensor, frame), value), tensor
            assert shown[tensor].expression == tensor
        assert console.evaluate("self", frame) is walk.anatomy.modules[path]
        assert sys.getprofile() is None

    assert torch.equal(looking(model, f"after:{path}", step, look), before)


def test_layers_and_steps_that_are_over_have_locals_too() -> None:
    model = tiny_model("llama")
    first, second = plain_locals(model, "model.layers.0", 2), plain_locals(model, "", 1)

    def look(walk: Walk, stop: Stop) -> None:
        past = next(frame for frame in frames(walk, stop) if frame.kind == "past layer")
        assert list(rows(walk, past)) == ["by replay", *walk.scopes.locals.again(past).names]  # type: ignore[union-attr]
        assert torch.equal(evaluator(walk).hover("residual", past), first["residual"])
        step = next(frame for frame in frames(walk, stop) if frame.kind == "past step")
        assert "logits" in rows(walk, step)
        assert torch.equal(walk.scopes.locals.again(step).names["logits"], second["logits"])  # type: ignore[union-attr]

    looking(model, "model.layers.1", 2, look)


def test_before_a_module_they_are_its_arguments_and_on_the_way_they_are_live() -> None:
    def look(walk: Walk, stop: Stop) -> None:
        console = evaluator(walk)
        top = frames(walk, stop)[1]
        with pytest.raises(EvaluationError, match="'attn_output' has no value yet"):
            console.hover("attn_output", top)
        assert "residual" in rows(walk, next(f for f in frames(walk, stop) if f.name == "LlamaDecoderLayer.forward"))
        assert torch.equal(console.hover("hidden_states", top), stop.activations[0].kwargs["hidden_states"])

    looking(tiny_model("llama"), "model.layers.1.self_attn", 1, look)


def test_hovering_sees_the_names_of_the_file_and_walks_configurations() -> None:
    def look(walk: Walk, stop: Stop) -> None:
        console, top = evaluator(walk), frames(walk, stop)[1]
        module: Any = stop.activations[0].module
        assert console.hover("self.config.hidden_size", top) == 32
        assert console.hover("self.q_proj.weight.shape[0]", top) == 32
        assert console.hover("past_key_values", top) is stop.activations[0].kwargs["past_key_values"]
        function = console.hover("apply_rotary_pos_emb", top)
        assert hovering.row(function).value.startswith("function transformers.models.llama.modeling_llama.apply_rot")
        assert hovering.row(console.hover("LlamaMLP", top)).value.startswith("<class 'transformers.models.llama")
        assert hovering.row(module.config).value == "LlamaConfig"
        for wrong in ("", "  ", "nothing", "self.nothing", "apply_rotary_pos_emb()", "self.config.to_dict()"):
            with pytest.raises(EvaluationError):
                console.hover(wrong, top)

    looking(tiny_model("llama"), "model.layers.1.self_attn", 1, look)


def test_names_of_gpt2s_configuration_lead_to_its_own() -> None:
    def look(walk: Walk, stop: Stop) -> None:
        assert evaluator(walk).hover("self.config.hidden_size", frames(walk, stop)[1]) == 32

    looking(tiny_model("gpt2"), "transformer.h.1.attn", 0, look)


def test_hovering_calls_nothing() -> None:
    called: list[str] = []

    class Trap:
        held = 3

        def __getattr__(self, name: str) -> Any:
            called.append(name)
            return 1

        def __getattribute__(self, name: str) -> Any:
            if name not in ("__class__", "__dict__"):
                called.append(name)
            return object.__getattribute__(self, name)

        def __getitem__(self, index: int) -> int:
            called.append("getitem")
            return 1

        def __repr__(self) -> str:
            called.append("repr")
            return "sprung"

        def __len__(self) -> int:
            called.append("len")
            return 1

        @property
        def spring(self) -> int:
            called.append("spring")
            return 1

    class Listed(list[int]):
        def __getitem__(self, index: Any) -> Any:
            called.append("listed")
            return 1

    def look(walk: Walk, stop: Stop) -> None:
        console, top = evaluator(walk), frames(walk, stop)[1]
        console._console |= {"trap": Trap(), "listed": Listed([1])}
        for text in ("trap.spring", "trap.missing", "trap[0]", "listed[0]", "trap.spring.x"):
            with pytest.raises(EvaluationError):
                console.hover(text, top)
        assert console.hover("trap.held", top) == 3
        assert hovering.row(console.hover("trap", top)).value == "Trap"
        assert called == []

    looking(tiny_model("llama"), "model.layers.1.self_attn", 1, look)


def test_a_hover_that_would_take_long_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        top = frames(walk, stop)[1]
        monkeypatch.setattr(walk.scopes.locals, "is_quick", lambda _frame: False)
        with pytest.raises(EvaluationError, match="open Locals"):
            evaluator(walk).hover("residual", top)
        rows(walk, top)
        assert isinstance(evaluator(walk).hover("residual", top), Tensor), "what is known is shown"

    looking(tiny_model("llama"), "after:model.layers.1", 1, look)


def test_what_a_module_returned_is_shown_as_it_was_though_it_is_written_into() -> None:
    model = tiny_model("llama")
    expected: list[Tensor] = []
    handle = model.model.layers[0].register_forward_hook(
        lambda _m, _a, out: expected.append((out[0] if isinstance(out, tuple) else out).clone())
    )

    def write(module: nn.Module, args: Any) -> None:
        if module is model.model.layers[1]:
            args[0].add_(1.0)

    first = register_module_forward_pre_hook(write)
    returned: list[Any] = []

    def decide(stop: Stop) -> Motion:
        if stop.returned is not None:
            returned.append(stop.returned[1])
            return Motion.RUN
        return Motion.NEXT

    try:
        walk = Walk(Loaded(model, None), decide, ["model.layers.0"])
        walk.generate(input_ids=PROMPTS, **{**GREEDY, "max_new_tokens": 1})
    finally:
        first.remove()
        handle.remove()
    value = returned[0][0] if isinstance(returned[0], tuple) else returned[0]
    assert torch.equal(value, expected[0])


def test_a_model_that_fails_when_it_runs_again_is_a_row() -> None:
    model = tiny_model("llama")
    calls = [0]

    def fail(*_: Any) -> None:
        calls[0] += 1
        if calls[0] > 1:
            raise ValueError("only once")

    handle = model.model.embed_tokens.register_forward_hook(fail)

    def look(walk: Walk, stop: Stop) -> None:
        past = next(frame for frame in frames(walk, stop) if frame.kind == "past layer")
        for scope in walk.scopes.of(past):
            if scope.name in ("Inputs", "Output", "Locals"):
                (row,) = scope.children.named_rows()
                assert (row.name, row.value) == ("error", "ValueError: only once")
        handle.remove()

    looking(model, "model.layers.1", 0, look)
