"""A program's own loops, alone and while an editor is attached that has armed nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import Laps, Row, best, best_ratio, compared, interleaved, judged, ms, now
from benchmarks.subjects import Subject, atlas, llama, tiny
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.debuggee import Debuggee
from dap_server.engine.program.models import Models

BAR = 1.01
Loop = Callable[[], list[float]]
"""Runs a program's loop once. Returns the seconds of its pieces."""


def run(quick: bool) -> Iterator[Row]:
    if quick:
        yield _generation("a tiny model", tiny(), 1)
        return
    yield _generation("12 layers, width 768, 32,000 tokens", llama(), 24)
    yield _generation("example model", atlas(), 60)
    yield _row("a training loop, example model", _training(atlas().loaded.model), 4, bar=None)
    yield _row("a loop of its own with a transformer of its own", _own_loop(), 8, bar=None)


def _generation(name: str, subject: Subject, repeats: int) -> Row:
    """A loop over prompts, of each of which `generate` makes a text."""

    def loop() -> list[float]:
        return subject.laps_of(lambda: torch.cat([subject.plain() for _ in range(2)]))

    return _row(f"a script's generation loop, {name}", loop, repeats, BAR)


def _training(model: Any) -> Loop:
    ids = torch.randint(8, 500, (4, 64), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def loop() -> list[float]:
        model.train()
        laps = []
        for _ in range(8):
            begun = now()
            model(ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            laps.append(now() - begun)
        model.eval()
        return laps

    return loop


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        mixed: Tensor = x + self.mlp(x)
        return mixed


def _own_loop(width: int = 384) -> Loop:
    """No transformers anywhere; each forward is a call of its own, and reads the whole text."""
    model = nn.Sequential(nn.Embedding(1000, width), *(_Block(width) for _ in range(6)), nn.Linear(width, 1000)).eval()

    @torch.no_grad()
    def loop() -> list[float]:
        ids, laps = torch.zeros(1, 32, dtype=torch.long), []
        for _ in range(32):
            begun = now()
            ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=-1)
            laps.append(now() - begun)
        return laps

    return loop


def _row(name: str, loop: Loop, repeats: int, bar: float | None) -> Row:
    loop()  # whatever happens once
    laps = _laps(loop, repeats)
    piece = f"{ms(best(laps, 'alone') / len(laps['alone'][0]))} a lap"
    measured = compared(laps, "debugged", "alone")
    beside = f"alone twice {compared(laps, 'again', 'alone')}; {piece}"
    what = f"nothing armed: {name}"
    if bar is None:
        return Row(what, measured, beside)
    return judged(what, measured, beside, f"≤ {bar}×", best_ratio(laps, "debugged", "alone") <= bar)


def _laps(loop: Loop, repeats: int) -> Laps:
    models = Models(_debuggee, current=lambda _: None, changed=lambda _: None, say=lambda _: None)

    def debugged() -> list[float]:
        models.calls.install()
        try:
            return loop()
        finally:
            models.calls.remove()

    debugged()  # finds its models
    return interleaved({"alone": loop, "again": loop, "debugged": debugged}, repeats)


def _debuggee(loaded: Loaded) -> Debuggee:
    return Debuggee(loaded, stopped=lambda _: None, write=lambda _: None)
