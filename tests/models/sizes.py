"""What configurations call their sizes, and how small each becomes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from typing import Any

VOCABULARY = 96
PAD, BOS, EOS = 0, 1, 2
WINDOW = 8
"""Of sliding windows and chunks: a dozen tokens wrap them."""

_NAMES: list[tuple[int, str]] = [
    (2, "type_vocab_size"),
    (64, "attention_hidden_size"),
    (16, "attention_head_dim qk_head_dim"),
    (VOCABULARY, "vocab_size n_vocab *_vocab_size vocab_size_* ngram_vocab_size_base *_hash_byte_group_vocab"),
    (32, "hidden_size n_embd d_model embed_dim embedding_dim emb_dim dim lru_width kv_channels hidden_dim d_latents"),
    (32, "*_hidden_size hidden_size_* *embedding_size word_embed_proj_dim intra_bottleneck_size output_num_channels"),
    (32, "shape_embed_dim adapter_in_dim adapter_out_dim adapter_input_size output_channels *_out_channel"),
    (24, "moe_intermediate_size *shared*_intermediate_size expert_ffn_hidden_size"),
    (48, "*intermediate_size n_inner d_ff dff d_inner dim_ff *ffn_dim ffn_hidden_size intermediate_size_mlp mlp_dim"),
    (48, "feed_forward_size"),
    (
        2,
        "num_*layers n_layer n_layers encoder_layers decoder_layers *_encoder_layers *_decoder_layers depth num_blocks",
    ),
    (2, "num_self_attends_per_block num_key_value_heads num_kv_heads *_num_key_value_heads kv_n_heads"),
    (2, "linear_num_key_heads linear_num_value_heads num_experts_per_tok* moe_topk moe_k index_topk"),
    (2, "*_step *_period *_every_n_layers *_sliding_window_pattern sliding_window_pattern layer_group_size"),
    (4, "n_head n_heads num_heads *attention_heads *attention_heads_per_layer linear_num_heads index_n_heads"),
    (4, "*num_experts num_local_experts n_routed_experts zero_expert_num time_step_rank mamba_dt_rank rotary_dim"),
    (4, "*state_size mamba_d_state"),
    (8, "*head_dim d_kv *_lora_rank query_pre_attn_scalar dim_head"),
    (8, "attention_head_size d_head adapter_rank laurel_rank hc_lowrank gated_norm_rank embedding_rank"),
    (8, "mamba_n_heads mamba_d_head n_mamba_heads mamba_headdim mamba_num_heads num_latents"),
    (WINDOW, "*sliding_window sliding_window_size *window_size attention_window local_attention* local_radius"),
    (
        WINDOW,
        "chunk_size attention_chunk_size mamba_chunk_size *attn_chunk_length *block_size local_transformer_stride",
    ),
    (1, "n_group topk_group *expert_group first_k_dense_replace num_mem_blocks num_dense_layers *n_groups *ngroups"),
    (256, "max_position_embeddings *_position_embeddings n_positions n_ctx max_seq_len context_length *_positions"),
]
_SIZES = [(pattern, size) for size, patterns in _NAMES for pattern in patterns.split()]


@cache
def size_of(name: str) -> int | None:
    """What a size of that name becomes; None if it is no size that the recipe knows."""
    return next((size for pattern, size in _SIZES if fnmatchcase(name, pattern)), None)


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
