"""A program does to the last bit what it does alone: with nothing armed, and with stops, steps and ways back in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from dap_server.engine.execution.stepping import Motion
from dap_server.engine.execution.travel import Traveller
from tests.engine.program.run import Program, attached, debugged
from tests.engine.walk import GREEDY, PROMPTS
from tests.models.tiny import tiny_model

MLP = "model.layers.1.mlp"


class Block(nn.Module):
    """Of nobody's but its author's: with a norm over the batch, a dropout, and a list of what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor, memory: list[Tensor]) -> Tensor:
        memory.append(x)
        out: Tensor = x + self.drop(self.norm(self.mix(torch.stack(memory).mean(0))))
        return out


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(96, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(8, 96)

    def forward(self, ids: Tensor, memory: list[Tensor]) -> Tensor:
        x = self.tokens(ids).flatten(0, 1)
        for block in self.blocks:
            x = block(x, memory)
        out: Tensor = self.head(x)
        return out


def greedy() -> list[Tensor]:
    return [tiny_model("llama").generate(PROMPTS, **GREEDY)]


def sampled() -> list[Tensor]:
    return [tiny_model("llama").generate(PROMPTS, max_new_tokens=4, do_sample=True, temperature=0.8)]


def beams() -> list[Tensor]:
    return [tiny_model("llama").generate(PROMPTS, max_new_tokens=4, num_beams=3, do_sample=True)]


def with_an_encoder() -> list[Tensor]:
    return [tiny_model("t5").generate(PROMPTS, **GREEDY)]


def own_loop_with_a_cache() -> list[Tensor]:
    model, logits, ids = tiny_model("llama"), [], PROMPTS
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        for _ in range(3):
            output = model(ids, past_key_values=cache)
            ids = output.logits[:, -1].argmax(-1, keepdim=True)
            logits.append(output.logits)
    return logits


def training() -> list[Tensor]:
    model = tiny_model("llama").train()
    losses = []
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(PROMPTS, labels=PROMPTS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, *(p.grad for p in model.parameters())]


def training_of_an_own_model() -> list[Tensor]:
    torch.manual_seed(1)
    model, memory = Own().train(), list[Tensor]()
    for _ in range(2):
        loss = functional.cross_entropy(model(PROMPTS, memory), PROMPTS.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        memory[:] = [one.detach() for one in memory]
    return [loss.detach(), *memory, *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()]


PROGRAMS: list[tuple[Callable[[], list[Tensor]], str]] = [
    (greedy, MLP),
    (sampled, MLP),
    (beams, MLP),
    (with_an_encoder, "decoder.block.1"),
    (own_loop_with_a_cache, MLP),
    (training, MLP),
    (training_of_an_own_model, "blocks.1"),
]
of_programs = pytest.mark.parametrize(("program", "module"), PROGRAMS, ids=lambda given: getattr(given, "__name__", ""))


@of_programs
def test_with_nothing_armed(program: Callable[[], list[Tensor]], module: str) -> None:
    alone = _alone(program)
    made, stops = debugged(_seeded(program))
    assert stops == []
    assert _are_same(made, alone)


@of_programs
def test_with_stops_steps_and_ways_back(program: Callable[[], list[Tensor]], module: str) -> None:
    """At each of the first stops it steps, goes back twice, and looks at the step again on the way."""
    alone = _alone(program)
    with attached(module) as debugger:
        running = Program(_seeded(program), debugger.ended)
        assert debugger.at() == f"function breakpoint: before {module} in step 0"
        debugger.go(Motion.NEXT)
        there = debugger.next_stop()
        back = debugger.look(Traveller(debugger.now.stepper, there).back)
        debugger.go(back)
        assert debugger.next_stop().place == back.place
        debugger.look(lambda: Traveller(debugger.now.stepper, debugger.stop).trace(0))
        debugger.go(Motion.IN)
        first = debugger.next_stop()
        debugger.go(debugger.look(Traveller(debugger.now.stepper, first).back_in))
        assert debugger.next_stop().place == back.place
        debugger.go()
        debugger.run_to_end()
        made = running.result()
    assert _are_same(made, alone)


def _seeded(program: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    def run() -> list[Tensor]:
        torch.manual_seed(0)
        return [one.clone() for one in program()]

    return run


def _alone(program: Callable[[], Any]) -> list[Tensor]:
    alone: list[Tensor] = _seeded(program)()
    return alone


def _are_same(made: list[Tensor], alone: list[Tensor]) -> bool:
    return len(made) == len(alone) and all(map(torch.equal, made, alone))
