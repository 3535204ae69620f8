"""Well-known models at their published sizes: their configurations, and their parameters by arithmetic.

The arithmetic is written from the papers' descriptions of the architectures; nothing of it is read from a model. Where
a total is published with its checkpoint to the last parameter, it stands beside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.models.tasks import Task


class Published(NamedTuple):
    """One model.

    Attributes:
        model_type: as transformers calls it.
        options: of its configuration.
        parameters: by arithmetic.
        billions: as it was announced, rounded as there; or to the last parameter.
    """

    model_type: str
    options: dict[str, Any]
    parameters: int
    billions: float
    task: Task = "causal"


def attention(width: int, heads: int, groups: int, size: int, bias: bool = False) -> int:
    """Query, key, value and output matrices; biases on the first three."""
    return 2 * width * (heads + groups) * size + bias * (heads + 2 * groups) * size


def decoder(vocabulary: int, width: int, layers: int, layer: int, tied: bool = False) -> int:
    """Embedding, layers, final norm, head."""
    return vocabulary * width * (1 if tied else 2) + layers * layer + width


def gated(width: int, inner: int) -> int:
    return 3 * width * inner


def llama(vocabulary: int, width: int, inner: int, layers: int, heads: int, groups: int) -> tuple[dict[str, Any], int]:
    options = {
        "vocab_size": vocabulary, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": groups,
    }  # fmt: skip
    layer = attention(width, heads, groups, width // heads) + gated(width, inner) + 2 * width
    return options, decoder(vocabulary, width, layers, layer)


def like_llama(model_type: str, billions: float, *sizes: int) -> Published:
    options, parameters = llama(*sizes)
    return Published(model_type, options, parameters, billions)


def mixtral(billions: float, width: int, inner: int, layers: int, heads: int) -> Published:
    options, _ = llama(32000, width, inner, layers, heads, 8)
    layer = attention(width, heads, 8, 128) + 8 * gated(width, inner) + 8 * width + 2 * width
    return Published("mixtral", options, decoder(32000, width, layers, layer), billions)


def qwen2() -> Published:
    options, _ = llama(152064, 8192, 29568, 80, 64, 8)
    layer = attention(8192, 64, 8, 128, bias=True) + gated(8192, 29568) + 2 * 8192
    return Published("qwen2", options, decoder(152064, 8192, 80, layer), 72.7)


def qwen3_moe() -> Published:
    options, _ = llama(151936, 4096, 12288, 94, 64, 4)
    layer = attention(4096, 64, 4, 128) + 2 * 128 + 128 * gated(4096, 1536) + 128 * 4096 + 2 * 4096
    options |= {"head_dim": 128, "moe_intermediate_size": 1536, "num_experts": 128, "num_experts_per_tok": 8}
    return Published("qwen3_moe", options, decoder(151936, 4096, 94, layer), 235.1)


def gemma2() -> Published:
    options, _ = llama(256000, 4608, 36864, 46, 32, 16)
    layer = attention(4608, 32, 16, 128) + gated(4608, 36864) + 4 * 4608
    return Published("gemma2", options | {"head_dim": 128}, decoder(256000, 4608, 46, layer, tied=True), 27.2)


def deepseek_v3() -> Published:
    width, heads = 7168, 128
    queries = width * 1536 + 1536 + 1536 * heads * (128 + 64)
    keys = width * (512 + 64) + 512 + 512 * heads * (128 + 128)
    layer = queries + keys + heads * 128 * width + 2 * width
    mixture = 256 * gated(width, 2048) + gated(width, 2048) + 256 * width
    layers = 61 * layer + 3 * gated(width, 18432) + 58 * mixture
    return Published("deepseek_v3", {}, 2 * 129280 * width + layers + width, 671.0)


def gpt_oss() -> Published:
    width, experts = 2880, 128
    heads = attention(width, 64, 8, 64, bias=True) + width + 64  # bias of the output, and a sink for each head
    expert = width * 2 * width + 2 * width + width * width + width
    layer = heads + experts * expert + experts * width + experts + 2 * width
    return Published("gpt_oss", {}, decoder(201088, width, 36, layer), 116.8)


def mamba(model_type: str, billions: float, vocabulary: int, width: int, layers: int, tied: bool) -> Published:
    options = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, "state_size": 16,
               "tie_word_embeddings": tied}  # fmt: skip
    layer = selective(2 * width, width // 16, width) + width
    return Published(model_type, options, decoder(vocabulary, width, layers, layer, tied), billions)


def selective(inner: int, rank: int, width: int, state: int = 16) -> int:
    """A block of Mamba: in, convolution of 4 with bias, Δ B C, Δ with bias, A, D, out."""
    return (
        width * 2 * inner + 5 * inner + inner * (rank + 2 * state) + (rank + 1) * inner + (state + 1) * inner
        + inner * width
    )  # fmt: skip


def jamba() -> Published:
    width, inner = 4096, 14336
    mixers = 28 * (selective(8192, 256, width) + 256 + 2 * 16) + 4 * attention(width, 32, 8, 128)
    perceptrons = 16 * gated(width, inner) + 16 * (16 * gated(width, inner) + 16 * width)
    return Published("jamba", {}, 2 * 65536 * width + mixers + perceptrons + 32 * 2 * width + width, 51.6)


def olmo2() -> Published:
    options, _ = llama(100352, 5120, 13824, 40, 40, 40)
    layer = attention(5120, 40, 40, 128) + 2 * 5120 + gated(5120, 13824) + 2 * 5120
    return Published("olmo2", options, decoder(100352, 5120, 40, layer), 13.7)


def command_r_plus() -> Published:
    options, _ = llama(256000, 12288, 33792, 64, 96, 8)
    layer = attention(12288, 96, 8, 128) + (96 + 8) * 128 + gated(12288, 33792) + 12288
    return Published("cohere", options | {"use_qk_norm": True}, decoder(256000, 12288, 64, layer, tied=True), 103.8)


def falcon() -> Published:
    width = 14848
    options = {
        "vocab_size": 65024, "hidden_size": width, "num_hidden_layers": 80, "num_attention_heads": 232,
        "num_kv_heads": 8, "new_decoder_architecture": True, "tie_word_embeddings": False,
    }  # fmt: skip
    layer = attention(width, 232, 8, 64) + 8 * width**2 + 4 * width
    return Published("falcon", options, 2 * 65024 * width + 80 * layer + 2 * width, 179.5)


def bloom() -> Published:
    width = 14336
    layer = 12 * width**2 + 13 * width
    options = {"hidden_size": width, "n_layer": 70, "n_head": 112}
    return Published("bloom", options, 250880 * width + 2 * width + 70 * layer + 2 * width, 176_247_271_424)


def gpt_neox() -> Published:
    width = 6144
    layer = 12 * width**2 + 13 * width
    return Published("gpt_neox", {}, 2 * 50432 * width + 44 * layer + 2 * width, 20_554_567_680)


def gpt2() -> Published:
    width = 1600
    layer = 12 * width**2 + 13 * width
    options = {"n_embd": width, "n_layer": 48, "n_head": 25}
    return Published("gpt2", options, (50257 + 1024) * width + 48 * layer + 2 * width, 1_557_611_200)


def t5(billions: float, width: int, inner: int, heads: int, size: int, is_gated: bool) -> Published:
    """One embedding for encoder, decoder and head; version 1.1 was published with a head of its own besides, which
    transformers ties since version 5.
    """
    options = {
        "d_model": width, "d_ff": inner, "num_heads": heads, "d_kv": size, "num_layers": 24,
        "feed_forward_proj": "gated-gelu" if is_gated else "relu", "tie_word_embeddings": not is_gated,
    }  # fmt: skip
    heads_of_one = 4 * width * heads * size
    perceptron = (3 if is_gated else 2) * width * inner
    encoder = heads_of_one + perceptron + 2 * width
    both = 24 * (encoder + encoder + heads_of_one + width) + 2 * width + 2 * 32 * heads
    return Published("t5", options, 32128 * width + both, billions, "seq2seq")


def bart() -> Published:
    width, inner = 1024, 4096
    heads = 4 * (width**2 + width)
    perceptron = 2 * width * inner + inner + width
    encoder, norm = heads + perceptron + 4 * width, 2 * width
    layers = 12 * encoder + 12 * (encoder + heads + norm)
    return Published("bart", {}, 50265 * width + 2 * (1026 * width + norm) + layers, 406_291_456, "seq2seq")


def bert() -> Published:
    width = 1024
    options = {"hidden_size": width, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    embeddings = (30522 + 512 + 2) * width + 2 * width
    head = width**2 + width + 2 * width + 30522
    return Published("bert", options, embeddings + 24 * (12 * width**2 + 13 * width) + head, 335_174_458, "masked")


PUBLISHED: dict[str, Callable[[], Published]] = {
    "Llama-3.1-8B": lambda: like_llama("llama", 8_030_261_248, 128256, 4096, 14336, 32, 32, 8),
    "Llama-3.1-70B": lambda: like_llama("llama", 70_553_706_496, 128256, 8192, 28672, 80, 64, 8),
    "Llama-3.1-405B": lambda: like_llama("llama", 405_853_388_800, 128256, 16384, 53248, 126, 128, 8),
    "Mistral-7B": lambda: like_llama("mistral", 7_241_732_096, 32000, 4096, 14336, 32, 32, 8),
    "Mixtral-8x7B": lambda: mixtral(46_702_792_704, 4096, 14336, 32, 32),
    "Mixtral-8x22B": lambda: mixtral(140.6, 6144, 16384, 56, 48),
    "Qwen2.5-72B": qwen2,
    "Qwen3-235B-A22B": qwen3_moe,
    "Gemma-2-27B": gemma2,
    "Phi-4": lambda: like_llama("phi3", 14_659_507_200, 100352, 5120, 17920, 40, 40, 10),
    "DeepSeek-V3": deepseek_v3,
    "gpt-oss-120b": gpt_oss,
    "Falcon-Mamba-7B": lambda: mamba("falcon_mamba", 7.27, 65024, 4096, 64, tied=False),
    "Mamba-2.8B": lambda: mamba("mamba", 2.77, 50280, 2560, 64, tied=True),
    "Jamba-v0.1": jamba,
    "OLMo-2-13B": olmo2,
    "Command-R+": command_r_plus,
    "Falcon-180B": falcon,
    "BLOOM-176B": bloom,
    "GPT-NeoX-20B": gpt_neox,
    "GPT-2 XL": gpt2,
    "T5-11B": lambda: t5(11_307_321_344, 1024, 65536, 128, 128, is_gated=False),
    "Flan-T5-XXL": lambda: t5(11_135_332_352 - 32128 * 4096, 4096, 10240, 64, 64, is_gated=True),
    "BART-large": bart,
    "BERT-large": bert,
}
"""By the name under which each is known."""
