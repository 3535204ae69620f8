"""How long the map of a model takes, whatever its size: built without weights, run without values, written.

The work is of one thread; the time that its core gives to others is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from transformers import LlamaConfig

from benchmarks.measure import Row, judged
from dap_server.engine.anatomy.mapping import map_of_config
from dap_server.modelmap.text import read_map, write_map

BAR = 3.0
LAYERS = 126


def run(quick: bool) -> Iterator[Row]:
    config = LlamaConfig(
        vocab_size=128256, hidden_size=16384, intermediate_size=53248, num_hidden_layers=2 if quick else LAYERS,
        num_attention_heads=128, num_key_value_heads=8,
    )  # fmt: skip
    writing: list[float] = []
    reading: list[float] = []
    for i in range(2 if quick else 6):
        before = time.process_time()
        text = write_map(map_of_config(config))
        written = time.process_time()
        read_map(text)
        if i > 0:  # the first imports the model's code
            writing.append(written - before)
            reading.append(time.process_time() - written)
    yield judged(
        "map of a model of 405 billion parameters, after the imports, on one core",
        f"{statistics.median(writing):.1f} s (best {min(writing):.1f} s)",
        "",
        f"< {BAR:.0f} s",
        min(writing) < BAR,
    )
    lines = text.count("\n")
    yield judged(f"reading it, {lines:,} lines", f"{1000 * min(reading):.0f} ms", "", "< 100 ms", min(reading) < 0.1)
