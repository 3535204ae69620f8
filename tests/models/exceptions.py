"""What the recipe of `tests/models/configs.py` does not find by itself, and configurations beside the usual ones."""

from __future__ import annotations

from typing import Any

from tests.models.sizes import VOCABULARY

_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
_UNGROUPED = {"num_key_value_heads": 4}
_WINDOWED = {"layer_types": ["sliding_attention", "full_attention"]}
_MIXED = {"layer_types": ["linear_attention", "full_attention"]}
_EXPERTS = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1}
_LATENT = {"num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
_LATENT_WIDTHS = {"head_dim": 16, "qk_nope_head_dim": 8, "v_head_dim": 8}
_INDEXER = {"n_heads": 2, "kv_heads": 1, "head_dim": 8, "budget": 4, "compress_ratio": 2}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    # Sizes that depend on each other
    "dots3_note_text": {f"swa_{name}": size for name, size in (_LATENT | _LATENT_WIDTHS).items()},
    "esmc": {**_UNGROUPED, "vocab_size": VOCABULARY},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma4_unified_text": {"global_head_dim": 16},
    "layoutlmv3": {"coordinate_size": 4, "shape_size": 8},
    "lilt": {"hidden_size": 48},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "mistral4": {"head_dim": 16},
    "mobilebert": {"embedding_size": 16},
    "nemotron3_5_transcribe_asr_audio": _UNGROUPED,
    "nemotron3_5_transcribe_word_timestamp": {**_UNGROUPED, "blank_token_id": 3},
    "nemotron3_diarization_audio": _UNGROUPED,
    "neomme": {"head_dim": 16},
    "recurrent_gemma": {**_UNGROUPED, "num_hidden_layers": 3},
    "reformer": {"axial_pos_embds_dim": [8, 24], "axial_pos_shape": [16, 16], "hash_seed": 1},
    "rwkv": {"attention_hidden_size": 32, "rescale_every": 1},
    "vibevoice_acoustic_tokenizer_encoder": {"num_filters": 1, "depths": [1] * 7},
    "xlstm": {"qk_dim_factor": 2.0, "v_dim_factor": 2.0},
    # Numbers of layers, and kinds that the default configuration leaves out
    "bamba": {"attn_layer_indices": [1]},
    "cohere_compass_text": {
        **_WINDOWED,
        "rope_parameters": {"sliding_attention": {**_ROPE, "mrope_section": [2, 1, 1]}, "full_attention": None},
    },
    "dots1": {**_WINDOWED, **_EXPERTS},
    "flint": {"mlp_only_layers": [0]},
    "funnel": {"block_sizes": [1, 1, 1]},
    "gemma4_text": {**_WINDOWED, "global_head_dim": 16},
    "granitemoehybrid": _MIXED,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "llama4_text": {"no_rope_layers": [1, 0], "moe_layers": [1]},
    "mllama_text_model": {"cross_attention_layers": [1]},
    "qwen4_exp_text": {f"indexer_{name}": size for name, size in _INDEXER.items()}
    | {"ple_layer_ids": [1], "ple_embed_dim": 32},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid", "hybrid"]},
    # What the default configuration leaves open, though the model needs it
    "blt": {"num_hidden_layers": 2},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0}},
    "deepseek_v2": {"num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "esm": {"vocab_size": VOCABULARY},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "xmod": {"default_language": "en_XX"},
    # A decoder would not attend in blocks
    "big_bird": {"is_decoder": False},
    # Its tokens would all be alike
    "cpmant": {"init_std": 0.5},
    "marian": {"scale_embedding": True},
}
"""By model type, of sub-configurations too."""

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
