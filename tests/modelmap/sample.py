"""A small map, as it is made and as text."""

from __future__ import annotations

from dap_server.modelmap.text import MapLine, ModelMap

MODEL = "models/tiny"


def sample_map() -> ModelMap:
    """Of a model with two layers; every kind of line is in it."""
    hidden = "(B, T, 8)"
    return ModelMap(
        model=MODEL,
        class_name="TinyForCausalLM",
        task="causal",
        dtype="float32",
        parameters=1_234_567,
        transformers="5.23.0",
        counted="per token of a text of 127 tokens",
        lines=[
            MapLine("step", "selection", note="one forward pass, one token"),
            MapLine("", "module", "TinyForCausalLM", "(B, T)", "(B, T, 40)", 1_234_567, 2_650_000),
            MapLine("embed", "module", "Embedding", "(B, T)", hidden, 320),
            MapLine("layers", "list", "ModuleList", parameters=1_234_247, note="a list of 2, not called itself"),
            MapLine("layers.0", "module", "TinyLayer", hidden, hidden, 617_000, 1_230_000),
            MapLine("layers.0.mlp", "module", "Linear", hidden, hidden, 617_000, 1_230_000),
            MapLine("layers.0.conv", "unused", "Conv1d", parameters=3, note="not called: its weights are used"),
            MapLine("layers.1", "module", "TinyLayer", hidden, hidden, 617_000, 1_230_000),
            MapLine("layers.1.mlp", "module", "Linear", hidden, hidden, 617_000, 1_230_000),
            MapLine("head", "module", "Linear", hidden, "(B, T, 40)", 320, 640, "its weight is that of embed"),
            MapLine("logits", "selection", note="(B, V) the scores of the next token"),
            MapLine("TemperatureLogitsWarper", "selection", note="with temperature"),
            MapLine("sample", "selection", note="the choice of the token"),
        ],
        classes={"Linear": "torch.nn.modules.linear", "TinyLayer": "tiny.modeling"},
    )
