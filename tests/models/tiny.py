"""Tiny random instances of transformers' architectures, made from their configurations; nothing is downloaded.

One recipe fits nearly all: whatever a configuration calls a width, a head, a layer, a window or a chunk is made small,
in sub-configurations too, and one layer of every kind is kept. What it does not find by itself is in `EXCEPTIONS`.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PretrainedConfig,
)

VOCABULARY = 96
PAD, BOS, EOS = 0, 1, 2
WINDOW = 8
"""Of sliding windows and chunks: a dozen tokens wrap them."""

_NAMES: list[tuple[int, str]] = [
    (VOCABULARY, "vocab_size n_vocab vocab_size_per_layer_input"),
    (32, "hidden_size n_embd d_model embed_dim lru_width attention_hidden_size kv_channels"),
    (48, "intermediate_size n_inner d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim intermediate_size_mlp"),
    (24, "moe_intermediate_size shared_expert_intermediate_size"),
    (2, "num_hidden_layers n_layer n_layers num_layers num_decoder_layers encoder_layers decoder_layers"),
    (2, "num_key_value_heads num_kv_heads linear_num_key_heads linear_num_value_heads num_experts_per_tok"),
    (4, "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads"),
    (4, "num_experts num_local_experts n_routed_experts mamba_d_state state_size time_step_rank mamba_dt_rank"),
    (8, "head_dim d_kv v_head_dim qk_nope_head_dim qk_rope_head_dim kv_lora_rank q_lora_rank query_pre_attn_scalar"),
    (8, "linear_key_head_dim linear_value_head_dim adapter_rank"),
    (WINDOW, "sliding_window attention_window_size attention_chunk_size block_size chunk_size mamba_chunk_size"),
    (1, "n_group topk_group first_k_dense_replace num_mem_blocks"),
    (256, "max_position_embeddings n_positions n_ctx max_seq_len context_length"),
]
SIZES = {name: size for size, names in _NAMES for name in names.split()}
"""What sizes are called, and what they become. A size that is None stays so."""

FIXED: dict[str, Any] = {
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": BOS,
    "forced_eos_token_id": None,
    "initializer_range": 0.2,
    "init_std": 0.2,
}
"""The special tokens differ from each other; the weights are large, so that tokens are not all alike."""

_MAMBA_HEADS: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA_HEADS, "attn_layer_indices": [1]},
    "falcon_h1": {**_MAMBA_HEADS, "mamba_d_ssm": 64},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "llama4_text": {"no_rope_layers": [1, 0], "moe_layers": [1]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "deepseek_v3": {"num_key_value_heads": 4},
    "recurrent_gemma": {"num_hidden_layers": 3, "num_key_value_heads": 4},
    "rwkv": {"rescale_every": 1},
    "zamba2": {"n_mamba_heads": 8, "mamba_headdim": 8, "attention_hidden_size": 64, "attention_head_dim": 16},
}
"""By model type, what the recipe does not find by itself."""

_SHORT = 12
"""The original length of models that stretch theirs: a few tokens after the prompt they do."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, dynamic RoPE": (
        "llama",
        {
            "max_position_embeddings": _SHORT,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
        },
    ),
    "phi3, longrope": (
        "phi3",
        {
            "original_max_position_embeddings": _SHORT,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * 4,
                "long_factor": [4.0] * 4,
                "original_max_position_embeddings": _SHORT,
            },
        },
    ),
    "gpt2, dropout": ("gpt2", {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2}),
    "llama, dropout": ("llama", {"attention_dropout": 0.2}),
}
"""Configurations of interest beside the usual one of a type."""


def tiny_config(name: str) -> PretrainedConfig:
    """The configuration of a tiny instance; `name` is a model type of transformers or one of `VARIANTS`."""
    model_type, changes = VARIANTS.get(name, (name, {}))
    kind = CONFIG_MAPPING[model_type]
    config = kind(**_small(kind()) | EXCEPTIONS.get(model_type, {}) | changes)
    assert isinstance(config, PretrainedConfig)
    return config


def tiny_model(name: str, seed: int = 0, **options: Any) -> Any:
    """A tiny random model in evaluation mode, the same one for the same seed. `options` are those of `from_config`."""
    config = tiny_config(name)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = auto.from_config(config, **options)
    start = BOS if config.is_encoder_decoder else None
    model.generation_config = GenerationConfig(
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, decoder_start_token_id=start
    )
    return model.eval()


def _small(config: Any) -> dict[str, Any]:
    """Arguments that make a configuration small: what has a name in the tables, and the kinds of its layers."""
    small: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            small[name] = type(value)(**_small(value))
        elif name in SIZES and type(value) is int:
            small[name] = min(SIZES[name], value)
        elif name in FIXED:
            small[name] = FIXED[name]
    for name in ("layer_types", "layers_block_type"):
        kinds = list(dict.fromkeys(getattr(config, name, None) or ()))
        if name in vars(config) and kinds:
            small[name] = kinds if len(kinds) > 1 else kinds * 2
            small["num_hidden_layers"] = len(small[name])
    return small
