"""One tile of attention: all rows of a long text, and the last one, beside what the kernel itself takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch.nn import functional
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, eager_attention_forward

from benchmarks.measure import Row, ms
from dap_server.engine.analysis.attention.tiles import head_tiles
from dap_server.engine.analysis.attention.weights import DispatchedCall
from dap_server.engine.execution.attention.text import AttentionText

HEADS, SHARED, WIDTH = 16, 4, 64
CELLS = 1 << 16


def run(quick: bool) -> Iterator[Row]:
    for length in (64, 128) if quick else (1_000, 4_000):
        call = _call(length)
        heads, keys = range(HEADS), range(length)
        repeats = 1 if quick else 5
        last = range(length - 1, length)
        whole = _best(lambda: head_tiles(call, 0, heads, keys, keys, CELLS // HEADS, "float16"), repeats)  # noqa: B023
        row = _best(lambda: head_tiles(call, 0, heads, last, keys, CELLS // HEADS, "float16"), repeats)  # noqa: B023
        kernel = _best(
            lambda: functional.scaled_dot_product_attention(call.query, call.key, call.value, is_causal=True, enable_gqa=True),  # noqa: B023, E501
            repeats,
        )  # fmt: skip
        name = f"attention of {HEADS} heads at {length:,} positions"
        yield Row(f"{name}: all rows", ms(whole), f"SDPA itself {ms(kernel)}; the last row alone {ms(row)}")


def _best(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _call(length: int) -> DispatchedCall:
    config = LlamaConfig(
        hidden_size=HEADS * WIDTH, num_attention_heads=HEADS, num_key_value_heads=SHARED, head_dim=WIDTH
    )
    torch.manual_seed(0)
    query = torch.randn(1, HEADS, length, WIDTH)
    key, value = torch.randn(1, SHARED, length, WIDTH), torch.randn(1, SHARED, length, WIDTH)
    ids = torch.randint(0, 1000, (1, length))
    return DispatchedCall(
        module=LlamaAttention(config, 0),
        kernel="sdpa",
        text=AttentionText(query_ids=ids, key_ids=ids, known_keys=length),
        query=query,
        key=key,
        value=value,
        mask=None,
        options={"scaling": WIDTH**-0.5},
        eager=eager_attention_forward,
        is_eager=False,
    )
