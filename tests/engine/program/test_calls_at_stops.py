"""What somebody types or opens at a stop may call the model that stands: that is no part of its run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dap_server.engine.analysis.gradients.backward import Objective, differentiate, step_of, tap
from tests.engine.program.run import Attached, Program, attached
from tests.engine.walk import GREEDY, PROMPTS
from tests.models.tiny import tiny_model

MLP = "model.layers.0.mlp"


def typed(debugger: Attached, expression: str) -> Any:
    """In the console, at the top frame of the stop that stands."""
    now, stop = debugger.now, debugger.stop
    return debugger.look(lambda: now.evaluator.evaluate(expression, now.call_stack(stop, 0).page(0, 1)[0]))


@pytest.mark.parametrize("is_forward", [True, False], ids=["forward", "generate"])
@pytest.mark.parametrize(
    "call", ["model(input_ids).logits", "model.model.layers[0].mlp(x)", "model.generate(input_ids, max_new_tokens=1)"]
)
def test_a_call_that_is_typed_at_a_stop_gives_its_value_and_disturbs_nothing(call: str, is_forward: bool) -> None:
    model = tiny_model("llama").eval()

    def program() -> Tensor:
        with torch.no_grad():
            made: Tensor = model(PROMPTS).logits if is_forward else model.generate(PROMPTS, **GREEDY)
            return made

    given: list[Tensor] = []
    handle = model.model.layers[0].mlp.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    alone = program()
    handle.remove()
    with torch.no_grad():
        expected = eval(call, {"model": model, "input_ids": PROMPTS, "x": given[0]})
    with attached(MLP, "after:lm_head") as debugger:
        running = Program(program, debugger.ended)
        assert debugger.at() == f"function breakpoint: before {MLP} in step 0"
        assert torch.equal(typed(debugger, call), expected)
        debugger.go()
        assert debugger.at() == "function breakpoint: after lm_head in step 0", "no step was counted"
        debugger.models.set_breakpoints([])
        debugger.go()
        assert debugger.run_to_end() == []
    assert torch.equal(running.result(), alone)


class Checkpointed(nn.Module):
    """Runs its parts again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner, self.head = (
            nn.Embedding(96, 8),
            nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
            nn.Linear(8, 96),
        )

    def forward(self, input_ids: Tensor) -> tuple[Tensor]:
        hidden = self.embed(input_ids)
        return (self.head(checkpoint(lambda x: self.inner(x), hidden, use_reentrant=False)),)


def test_gradients_are_looked_at_where_a_backward_pass_runs_modules_with_breakpoints_again() -> None:
    torch.manual_seed(0)
    model = Checkpointed()
    with attached("inner.1") as debugger:
        program = Program(lambda: model(PROMPTS)[0].sum().backward(), debugger.ended)
        stop = debugger.next_stop()
        anatomy, text = debugger.now.anatomy, step_of(stop.generation, 0, 0)
        taps = [tap(anatomy, "inner.1", "inputs")]
        found = debugger.look(lambda: differentiate(anatomy, text, Objective(token=5), taps))
        debugger.go()
        assert debugger.run_to_end() == []
        program.result()
    hidden = model.inner[0](model.embed(PROMPTS)).detach().requires_grad_()
    logits = model.head(torch.tanh(hidden))[0, -1]
    expected = torch.autograd.grad(logits[5], hidden)[0]
    [(_, gradient)] = found.tensors.values()
    assert gradient is not None
    assert torch.allclose(gradient, expected, atol=1e-6)
