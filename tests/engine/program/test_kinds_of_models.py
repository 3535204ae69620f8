"""Models of other makes: compiled, with adapters, moved between devices, quantised, plain."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks

from dap_server.engine.execution.stepping import Motion
from tests.engine.program.run import Program, attached, debugged
from tests.engine.walk import GREEDY, PROMPTS
from tests.models.tiny import tiny_model


def eager(graph: Any, _inputs: Any) -> Any:
    """A compiler that changes nothing, and counts."""
    compiled.append(graph)
    return graph


compiled: list[Any] = []


@pytest.mark.parametrize("how", ["module.compile()", "torch.compile(module)"])
def test_compiled_models_run_eagerly_and_it_is_said_once(how: str) -> None:
    model: Any = tiny_model("llama")
    alone = model(PROMPTS).logits
    called = model
    if how == "module.compile()":
        model.compile(backend=eager)
    else:
        called = torch.compile(model, backend=eager)

    def program() -> Tensor:
        with torch.no_grad():
            called(PROMPTS)
            logits: Tensor = called(PROMPTS).logits
            return logits

    compiled.clear()
    with attached("model.layers.1.mlp") as debugger:
        running = Program(program, debugger.ended)
        assert debugger.at() == "function breakpoint: before model.layers.1.mlp in step 0"
        debugger.go(Motion.NEXT)
        assert debugger.at() == "step: after model.layers.1 in step 0"
        assert len(debugger.models.all) == 1, "what compiling makes of a model is no other one"
        debugger.models.set_breakpoints([])
        debugger.go()
        assert debugger.run_to_end() == []
        assert torch.equal(running.result(), alone)
        assert debugger.said.count("compiled models run eagerly while the debugger is attached\n") == 1
    assert not compiled
    assert not _global_forward_hooks
    program()
    assert compiled, "without the debugger it is compiled"
    torch._dynamo.reset()


def test_a_compiled_function_that_calls_a_model_is_debugged_too() -> None:
    model: Any = tiny_model("llama")
    alone = model(PROMPTS).logits
    step = torch.compile(lambda ids: model(ids).logits * 1.0, backend=eager)
    step(PROMPTS)
    compiled.clear()
    made, stops = debugged(lambda: step(PROMPTS), "model.layers.1.mlp", decide=[Motion.NEXT])
    assert torch.equal(made, alone)
    assert stops == ["function breakpoint: before model.layers.1.mlp in step 0", "step: after model.layers.1 in step 0"]
    assert not compiled
    torch._dynamo.reset()


def with_peft() -> Any:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    return peft.get_peft_model(tiny_model("llama"), config)


def with_accelerate() -> Any:
    accelerate = pytest.importorskip("accelerate")
    return accelerate.cpu_offload(tiny_model("llama"), torch.device("cpu"))


def quantised() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize: Any = torch.ao.quantization.quantize_dynamic
        return quantize(tiny_model("llama"), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (with_peft, "*.q_proj.lora_A.default"),
        (with_accelerate, "*.layers.1.mlp"),
        (quantised, "*.layers.1.self_attn.q_proj"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapters_hooks_that_move_weights_and_packed_weights(make: Callable[[], Any], place: str) -> None:
    torch.manual_seed(0)
    model = make().eval()

    def generates() -> Tensor:
        tokens: Tensor = model.generate(input_ids=PROMPTS, **GREEDY)
        return tokens

    def calls() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(input_ids=PROMPTS).logits
            return logits

    for program in (generates, calls):
        alone = program()
        made, stops = debugged(program, place, decide=[Motion.NEXT, Motion.IN, Motion.OUT])
        assert torch.equal(made, alone)
        assert stops[0].startswith("function breakpoint: before ")
        assert stops[1].startswith("step: ")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapters_that_come_later_are_seen() -> None:
    peft = pytest.importorskip("peft")
    model = tiny_model("llama")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    with attached("*.q_proj.lora_A.default") as debugger:
        assert Program(lambda: model(PROMPTS), debugger.ended).result() is not None
        assert debugger.run_to_end() == []
        peft.inject_adapter_in_model(config, model)
        program = Program(lambda: model(PROMPTS), debugger.ended)
        assert debugger.at() == "function breakpoint: before model.layers.0.self_attn.q_proj.lora_A.default in step 0"
        debugger.models.set_breakpoints([])
        debugger.go()
        program.result()


class Pair(nn.Module):
    """Takes no ids, returns a dictionary, and has neither a configuration nor a device."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(6, 4), nn.Tanh())
        self.right = nn.Sequential(nn.Linear(6, 4), nn.Tanh())

    def forward(self, pair: tuple[Tensor, Tensor], *, scale: float = 1.0) -> dict[str, Tensor]:
        left, right = self.left(pair[0]), self.right(pair[1])
        return {"score": (left * right).sum(-1) * scale}


def test_a_model_without_a_text_is_looked_at_as_any_other() -> None:
    model, pair = Pair(), (torch.rand(2, 6), torch.rand(2, 6))
    alone = model(pair, scale=2.0)["score"]
    with attached("right.1") as debugger:
        program = Program(lambda: model(pair, scale=2.0)["score"], debugger.ended)
        stop = debugger.next_stop()

        def rows() -> dict[str, list[str]]:
            stack = debugger.now.call_stack(stop, 0)
            return {frame.name: [scope.name for scope in debugger.now.scopes.of(frame)] for frame in stack.page(0, 20)}

        seen = debugger.look(rows)
        assert any(name.startswith("right.1") for name in seen), seen
        assert any(name.startswith("Pair") for name in seen), seen
        assert stop.generation.input_ids is None
        assert debugger.now.map is not None, "the order of its lines is that of the source"
        assert debugger.now.map.point("right.1") is not None
        debugger.go()
        assert torch.equal(program.result(), alone)
