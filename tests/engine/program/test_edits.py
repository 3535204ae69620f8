"""Edits at a stop within a call that a program makes: the call is what it would be with them from its beginning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dap_server.engine.execution.edits.edit import Edit, StoredValue, Token
from dap_server.engine.execution.edits.selection import CannotEdit
from tests.engine.execution.edits.sessions import by_hand, edit, output, turned
from tests.engine.program.run import Attached, Program, attached
from tests.engine.walk import GREEDY, PROMPTS
from tests.models.tiny import tiny_model


def change(debugger: Attached, *edits: Edit) -> str:
    """Makes edits at a stop. Returns where it stands then."""
    generation = debugger.stop.generation
    turned(debugger.now.stepper, generation.edits.plus(generation.branches.numbered(edits)))
    return debugger.at()


def test_a_forced_token_in_a_generate_of_a_program() -> None:
    model = tiny_model("llama")
    alone = model.generate(PROMPTS, **GREEDY)
    with attached("after:sample") as debugger:
        program = Program(lambda: [model.generate(PROMPTS, **GREEDY) for _ in range(2)], debugger.ended)
        debugger.next_stop()
        assert change(debugger, edit(Token(0), "force", 0, 0, tokens=(5,))).endswith("after sample in step 0")
        debugger.models.set_breakpoints([])
        debugger.go()
        first, second = program.result()
    prompt = PROMPTS.shape[1]
    assert first[0, prompt] == 5
    assert torch.equal(first[1], alone[1])
    assert torch.equal(second, alone), "an edit is of the call in which it was made"
    forced = torch.cat([PROMPTS[:1], first[:1, prompt : prompt + 1]], dim=1)
    expected = model.generate(forced, attention_mask=torch.ones_like(forced), **{**GREEDY, "max_new_tokens": 3})
    assert torch.equal(first[0, : expected.shape[1]], expected[0])


def test_a_training_forward_with_edits_has_their_loss_and_gradients() -> None:
    model: Any = tiny_model("llama")
    of_weight = edit(StoredValue("parameter", "model.norm.weight"), "scale", 0, number=2.0)

    def program() -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        loss = functional.cross_entropy(model(PROMPTS).logits.flatten(0, 1), PROMPTS.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), [p.grad.clone() for p in model.parameters()]

    with attached("model.layers.1.mlp") as debugger:
        running = Program(program, debugger.ended)
        debugger.next_stop()
        scaled = edit(output("model.layers.0"), "scale", 0, number=0.5)
        assert change(debugger, scaled) == "goto: before model.layers.1.mlp in step 0"
        debugger.go()
        loss, gradients = running.result()
    with by_hand(model.model.layers[0], lambda _step, value: value * 0.5):
        expected, expected_gradients = program()
    assert torch.equal(loss, expected)
    assert all(map(torch.equal, gradients, expected_gradients))
    assert not torch.equal(loss, program()[0])
    with attached("model.layers.1.mlp") as debugger:
        running = Program(program, debugger.ended)
        debugger.next_stop()
        with pytest.raises(CannotEdit, match="a weight cannot be edited in a forward that gradients go back through"):
            change(debugger, of_weight)
        debugger.go()
        running.result()


def test_a_weight_has_its_own_bytes_when_the_call_is_over() -> None:
    model: Any = tiny_model("llama")
    own = model.model.norm.weight.detach().clone()

    @torch.no_grad()
    def program() -> Tensor:
        logits: Tensor = model(PROMPTS).logits
        return logits

    with attached("model.layers.1.mlp") as debugger:
        running = Program(program, debugger.ended)
        debugger.next_stop()
        change(debugger, edit(StoredValue("parameter", "model.norm.weight"), "scale", 0, number=2.0))
        debugger.go()
        made = running.result()
    assert torch.equal(model.model.norm.weight, own)
    with by_hand(model.model.norm, lambda _step, value: value * 2.0):
        assert torch.equal(made, program()), "twice, which is exact"
