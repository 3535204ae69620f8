"""Maps as text, without a model: written by hand, and as long as that of the largest models."""

from __future__ import annotations

from dap_server.modelmap.text import Header, MapLine, ModelMap, write_map

LLAMA = "transformers.models.llama.modeling_llama"
WIDE = "(B, T, 192)"


def small_map(model: str = "models/atlas") -> str:
    """Of a model of two layers."""
    lines = [
        MapLine("step", "selection", note="one forward pass, one token"),
        MapLine("", "module", "LlamaForCausalLM", "(B, T)", "(B, T, 2048)", 2_647_296, 5_290_000),
        MapLine("model", "module", "LlamaModel", "(B, T)", WIDE, 2_254_080, 4_500_000),
        MapLine("model.embed_tokens", "module", "Embedding", "(B, T)", WIDE, 393_216),
        MapLine("model.layers", "list", "ModuleList", note="a list of 2, which is not called itself"),
        *(line for i in range(2) for line in layer(i)),
        MapLine("model.norm", "module", "LlamaRMSNorm", WIDE, WIDE, 192),
        MapLine("lm_head", "module", "Linear", WIDE, "(B, T, 2048)", 393_216, 786_000),
        MapLine("logits", "selection", note="the scores of the next token"),
        MapLine("TemperatureLogitsWarper", "selection", note="with temperature"),
        MapLine("sample", "selection", note="the choice of the token"),
    ]
    classes = {
        **dict.fromkeys(["LlamaForCausalLM", "LlamaDecoderLayer", "LlamaAttention", "LlamaMLP"], LLAMA),
        "Linear": "torch.nn.modules.linear",
        "ModuleList": "torch.nn.modules.container",
    }
    header = Header(model, "LlamaForCausalLM", "causal", "float32", 2_647_296, "5.23.0")
    return write_map(ModelMap(**vars(header), lines=lines, classes=classes))


def layer(i: int) -> list[MapLine]:
    return [
        MapLine(f"model.layers.{i}", "module", "LlamaDecoderLayer", WIDE, WIDE, 442_752, 900_000),
        MapLine(f"model.layers.{i}.self_attn", "module", "LlamaAttention", WIDE, WIDE, 147_456, 300_000),
        MapLine(f"model.layers.{i}.mlp", "module", "LlamaMLP", WIDE, WIDE, 294_912, 600_000),
    ]


ATLAS = small_map()


def line_of(text: str, place: str) -> int:
    """The line of a place, from 0."""
    return next(i for i, line in enumerate(text.splitlines()) if line.split()[:1] == [place])


def large_map(layers: int = 126) -> str:
    """As long as that of Llama 3.1 with 405 billion parameters, which has 126 layers."""
    shape, inner = "(B, T, 16384)", "(B, T, 53248)"
    lines = [
        MapLine("step", "selection", note="one forward pass, one token"),
        MapLine("", "module", "LlamaForCausalLM", "(B, T)", "(B, T, 128256)", 405_853_388_800, 811_000_000_000),
        MapLine("model", "module", "LlamaModel", "(B, T)", shape, 403_752_042_496, 807_000_000_000),
        MapLine("model.embed_tokens", "module", "Embedding", "(B, T)", shape, 2_101_346_304),
        MapLine("model.layers", "list", "ModuleList", note=f"a list of {layers}, which is not called itself"),
    ]
    for i in range(layers):
        layer = f"model.layers.{i}"
        lines.append(MapLine(layer, "module", "LlamaDecoderLayer", shape, shape, 3_187_703_808, 6_370_000_000))
        for name, kind in [
            ("input_layernorm", "LlamaRMSNorm"), ("self_attn", "LlamaAttention"), ("self_attn.q_proj", "Linear"),
            ("self_attn.k_proj", "Linear"), ("self_attn.v_proj", "Linear"), ("self_attn.o_proj", "Linear"),
            ("post_attention_layernorm", "LlamaRMSNorm"), ("mlp", "LlamaMLP"), ("mlp.gate_proj", "Linear"),
            ("mlp.act_fn", "SiLU"), ("mlp.up_proj", "Linear"), ("mlp.down_proj", "Linear"),
        ]:  # fmt: skip
            lines.append(MapLine(f"{layer}.{name}", "module", kind, shape, inner, 872_415_232, 1_740_000_000))
    lines += [
        MapLine("lm_head", "module", "Linear", shape, "(B, T, 128256)", 2_101_346_304, 4_200_000_000),
        MapLine("logits", "selection", note="the scores of the next token"),
        MapLine("sample", "selection", note="the choice of the token"),
    ]
    classes = {
        **dict.fromkeys(["LlamaForCausalLM", "LlamaModel", "LlamaDecoderLayer", "LlamaAttention", "LlamaMLP"], LLAMA),
        "Linear": "torch.nn.modules.linear",
        "Embedding": "torch.nn.modules.sparse",
    }
    return write_map(
        ModelMap("meta-llama/Llama-3.1-405B", "LlamaForCausalLM", "causal", "bfloat16", 405_853_388_800, "5.23.0",
                 lines=lines, classes=classes)
    )  # fmt: skip
