"""Forth, back, forth again, for every kind of cache and attention: the same tensors as in a run without a debugger."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution import caches
from dap_server.engine.execution.decoding import SamplingLoop
from dap_server.engine.execution.stepping import Motion, Stop
from tests.conftest import Report
from tests.engine.execution.journey import Journey, ThereAndBack, there_and_back
from tests.engine.execution.straight import Ask, asking, returned, run_straight, same
from tests.engine.walk import Walk
from tests.models.tiny import VOCABULARY, tiny_model, tiny_tokenizer

KINDS = [
    "llama", "qwen3", "gpt2", "bloom", "mixtral", "qwen3_moe", "deepseek_v3", "llama, dynamic RoPE", "phi3, longrope",
    "mistral", "gemma2", "gemma3_text", "gpt_oss", "llama4_text", "cohere2", "mamba", "mamba2", "falcon_h1", "zamba2",
    "jamba", "bamba", "recurrent_gemma", "rwkv", "minimax", "qwen3_next", "olmo_hybrid", "lfm2", "deepseek_v4", "xlnet",
    "big_bird", "t5", "bart",
]  # fmt: skip
"""Full attention, experts, MLA, growing RoPE, windows, chunks, linear, recurrent, hybrid layers, encoder–decoders."""

MODES: dict[str, dict[str, Any]] = {
    "sampled": {"do_sample": True},
    "greedy": {"do_sample": False},
    "static cache": {"do_sample": True, "cache_implementation": "static"},
    "left-padded batch": {"do_sample": True, "eos_token_id": list(range(3, VOCABULARY, 9))},
    "bfloat16": {"do_sample": True},
    "no cache": {"do_sample": True, "use_cache": False},
}

QUICK = {
    "sampled": [
        "llama", "deepseek_v3", "llama, dynamic RoPE", "phi3, longrope", "mistral", "gpt_oss", "llama4_text", "mamba2",
        "falcon_h1", "jamba", "recurrent_gemma", "rwkv", "minimax", "qwen3_next", "big_bird", "bart",
    ],
    "greedy": ["llama", "llama, dynamic RoPE", "zamba2", "t5"],
    "static cache": ["deepseek_v3", "gemma2", "bart"],
    "left-padded batch": ["gemma2", "mamba2", "bart"],
    "bfloat16": ["llama", "falcon_h1"],
    "no cache": ["llama, dynamic RoPE"],
}  # fmt: skip
"""What runs every time; the rest is marked `sweep`."""

CASES = [
    pytest.param(kind, mode, id=f"{kind}-{mode}", marks=[] if kind in QUICK[mode] else [pytest.mark.sweep])
    for mode in MODES
    for kind in KINDS
]

Row = tuple[str, str, str, str]
"""Model, cache, how it is brought back, what came of it."""

_table: dict[Row, list[str]] = {}


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_forth_back_and_forth_again(kind: str, mode: str) -> None:
    model = tiny_model(kind, dtype=torch.bfloat16 if mode == "bfloat16" else torch.float32)
    ask = asking(MODES[mode], batch=3 if mode == "left-padded batch" else 1)
    try:
        run_straight(model, ask)  # some models settle in their first run
    except Exception as error:
        _note(mode, (kind, "", "", f"does not run without a debugger: {type(error).__name__}"))
        return
    if not repeats(model, ask):
        _note(mode, (kind, "", "", "does not repeat itself without a debugger"))
        return
    _note(mode, (kind, "", "", "FAILED"))
    inspector = there_and_back(model, ask, Inspector).guide
    assert isinstance(inspector, Inspector)
    _table[kind, "", "", "FAILED"].remove(mode)
    _note(mode, (kind, inspector.cache, inspector.restoring, "identical"))


def test_a_model_that_scales_its_weights_in_its_first_forward_scales_them_once() -> None:
    plain, looked_at = tiny_model("rwkv"), tiny_model("rwkv")
    ask = asking({"do_sample": False}, steps=4)
    expected = plain.generate(**ask())

    def look(stop: Stop) -> Motion:
        assert stop.generation.tape is not None
        for step in {0, stop.place.step}:
            stop.generation.tape.replay(step)
        return Motion.RUN

    walk = Walk(Loaded(looked_at, tiny_tokenizer()), look, ["step", "*.blocks.1"])
    assert torch.equal(walk.generate(**ask()), expected)
    assert same(looked_at.state_dict(), plain.state_dict())


def _note(mode: str, row: Row) -> None:
    _table.setdefault(row, []).append(mode)


def repeats(model: Any, ask: Ask) -> bool:
    """Whether two runs without a debugger are the same to the last bit."""
    one, other = run_straight(model, ask), run_straight(model, ask)
    return same(returned(one.result), returned(other.result)) and same(one.seen, other.seen)


class Inspector(ThereAndBack):
    """Remembers how the cache was brought back, for the table."""

    cache = restoring = ""

    def look_around(self, journey: Journey, stop: Stop) -> None:
        super().look_around(journey, stop)
        tape = stop.generation.tape
        assert isinstance(tape, SamplingLoop)
        self.cache, self.restoring = classes_of(tape.cache), how_restored(tape)


def classes_of(cache: Any) -> str:
    """Classes of a cache and its layers."""
    if cache is None:
        return "no cache"
    parts = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
    layers = [layer for part in parts if part is not None for layer in part.layers] or getattr(cache, "layers", [])
    counts = Counter(type(layer).__name__ for layer in layers)
    return ", ".join([type(cache).__name__, *(f"{count} {name}" for name, count in counts.items())])


def how_restored(tape: SamplingLoop) -> str:
    """How the start of a step is brought back."""
    many = f"{len(tape.timeline.checkpoints)} in {len(tape.timeline.steps)} steps"
    if caches.needs_copies(tape.cache):
        return f"copies, {many}"
    way = "rewind" if "Static" in classes_of(tape.cache) else "crop" if tape.cache is not None else "nothing to do"
    return way if len(tape.timeline.checkpoints) == 1 else f"{way}, and copies of attributes, {many}"


@pytest.mark.parametrize("run", ["quick", pytest.param("sweep", marks=pytest.mark.sweep)])
def test_what_was_compared_is_told(run: str, report: Report) -> None:
    lines = [
        f"{kind:20} {how} ({cache}) {what}: {', '.join(m)}"
        for (kind, cache, how, what), m in sorted(_table.items())
        if m
    ]
    report(f"time travel, {run}: model, how its cache is restored, what came of it", lines)
