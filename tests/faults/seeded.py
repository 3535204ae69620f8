"""The faults."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from tests.conftest import EXAMPLE_MODEL
from tests.faults.breaking import (
    all_of,
    filled,
    forgotten_head,
    masked,
    output_scaled,
    planted,
    poisoned_cache,
    raising_at,
    replaced,
    rotary,
    same_weights,
    scaled,
    shuffled_head,
    swapped_halves,
    undefined_from,
    untied,
    unturned,
    without_epsilon,
    wrong_size,
)
from tests.faults.corpus import TWO, Fault, Found, Inputs, changed, prompt

LAYER = "model.layers"
SAMPLED: dict[str, Any] = {"do_sample": True, "top_k": 0}


@functools.cache
def token(text: str) -> int:
    """The id of one token of the example model."""
    (id,) = AutoTokenizer.from_pretrained(EXAMPLE_MODEL).encode(text, add_special_tokens=False)
    return int(id)


# --- what an input may have wrong


def on_the_right(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    order = mask.argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, order), mask.gather(1, order)


def random_text(_tokenizer: Any) -> Inputs:
    ids = torch.randint(300, 2_500, (1, 24), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def unknown_id(_tokenizer: Any) -> Inputs:
    ids = torch.tensor([[1, 5, 9_999]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


CHAT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
"""A template that the model has never seen."""

NON_FINITE = [
    Fault(
        "NaN in one weight of an MLP",
        Found("nonFinite", f"{LAYER}.4.mlp.down_proj"),
        "[3, 7]",
        breaks=planted(f"{LAYER}.4.mlp.down_proj.weight", (3, 7), math.nan),
    ),
    Fault(
        "NaN in one weight of the queries",
        Found("nonFinite", f"{LAYER}.1.self_attn.q_proj"),
        "[40, 2]",
        breaks=planted(f"{LAYER}.1.self_attn.q_proj.weight", (40, 2), math.nan),
    ),
    Fault(
        "NaN in the norm of a layer",
        Found("nonFinite", f"{LAYER}.2.input_layernorm"),
        breaks=planted(f"{LAYER}.2.input_layernorm.weight", (5,), math.nan),
    ),
    Fault(
        "NaN in the last norm", Found("nonFinite", "model.norm"), breaks=planted("model.norm.weight", (0,), math.nan)
    ),
    Fault(
        "NaN in the tied embedding of a token",
        Found("nonFinite", "lm_head"),
        breaks=planted("model.embed_tokens.weight", (token(" Rome"), 0), math.nan),
    ),
    Fault(
        "NaN in the embedding of a token that is read later",
        Found("nonFinite", "model.embed_tokens", step=1),
        breaks=untied(planted("model.embed_tokens.weight", (token(" Paris"), 0), math.nan)),
    ),
    Fault(
        "infinity in one weight",
        Found("nonFinite", f"{LAYER}.3.self_attn.o_proj"),
        breaks=planted(f"{LAYER}.3.self_attn.o_proj.weight", (0, 0), math.inf),
    ),
    Fault(
        "a table of positions that ends too early",
        Found("nonFinite", "model.rotary_emb", step=7),
        breaks=rotary(undefined_from(12)),
    ),
    Fault(
        "something writes NaN into the cache",
        Found("nonFinite", f"{LAYER}.2.self_attn", step=4),
        breaks=poisoned_cache(2, 9),
    ),
    Fault(
        "a norm without its epsilon divides by zero",
        Found("nonFinite", f"{LAYER}.0.input_layernorm", step=1),
        breaks=without_epsilon(token(" Paris")),
    ),
    Fault(
        "float16 overflows",
        Found("nonFinite", f"{LAYER}.5.mlp.down_proj"),
        breaks=scaled(f"{LAYER}.5.mlp.down_proj.weight", 200),
        dtype=torch.float16,
    ),
    Fault(
        "bfloat16 overflows",
        Found("nonFinite", f"{LAYER}.3.mlp.down_proj"),
        breaks=scaled(f"{LAYER}.3.mlp.down_proj.weight", 1e38),
        dtype=torch.bfloat16,
    ),
    Fault(
        "a temperature of almost zero",
        Found("nonFinite", "sample"),
        options={**SAMPLED, "temperature": 1e-40, "may_fail": True},
    ),
]

SIZES = [
    Fault(
        "float16 comes close to overflow",
        Found("nearOverflow", f"{LAYER}.5.mlp.down_proj"),
        "float16",
        breaks=scaled(f"{LAYER}.5.mlp.down_proj.weight", 80),
        dtype=torch.float16,
    ),
    Fault(
        "the output of attention is scaled up",
        Found("residual", f"{LAYER}.3"),
        f"{LAYER}.3.self_attn.o_proj.weight is 1",
        breaks=scaled(f"{LAYER}.3.self_attn.o_proj.weight", 1_000),
    ),
    Fault(
        "the output of an MLP is scaled up",
        Found("residual", f"{LAYER}.2"),
        f"{LAYER}.2.mlp.down_proj.weight is",
        breaks=scaled(f"{LAYER}.2.mlp.down_proj.weight", 100),
    ),
    Fault(
        "the weight of a norm is scaled up",
        Found("residual", f"{LAYER}.2"),
        f"{LAYER}.2.post_attention_layernorm.weight is",
        breaks=scaled(f"{LAYER}.2.post_attention_layernorm.weight", 100),
    ),
    Fault(
        "a norm before the MLP is missing",
        Found("residual", f"{LAYER}.2"),
        "no weight of it is out of line",
        breaks=replaced(f"{LAYER}.2.post_attention_layernorm", lambda _norm: nn.Identity()),
    ),
    Fault(
        "the residual stream collapses",
        Found("residual", f"{LAYER}.3"),
        "as small",
        breaks=output_scaled(f"{LAYER}.3", 1e-3),
    ),
    Fault(
        "a norm before attention is missing",
        missed="the stream stays within what a healthy layer makes of it: only the text is wrong",
        breaks=replaced(f"{LAYER}.2.input_layernorm", lambda _norm: nn.Identity()),
    ),
    Fault(
        "the last norm is missing",
        missed="the logits are 100 times too large, and the model surer than it should be, which looks like knowing",
        breaks=replaced("model.norm", lambda _norm: nn.Identity()),
    ),
    Fault(
        "a layer has the weights of another one",
        missed="each of its numbers is as it might be",
        breaks=same_weights(f"{LAYER}.3", f"{LAYER}.4"),
    ),
]

UNITS = [
    Fault(
        "the gate of an MLP is zero",
        Found("deadActivations", f"{LAYER}.3.mlp.act_fn"),
        f"{LAYER}.3.mlp.gate_proj.weight is zero",
        breaks=filled(f"{LAYER}.3.mlp.gate_proj.weight", 0),
    ),
    Fault(
        "a bias turns off an MLP with GELU",
        Found("deadActivations", "transformer.h.0.mlp.act"),
        "128 of 128 units",
        breaks=filled("transformer.h.0.mlp.c_fc.bias", -100),
        model="gpt2",
    ),
    Fault(
        "a bias turns off an MLP with ReLU",
        Found("deadActivations", "model.decoder.layers.1.activation_fn"),
        breaks=filled("model.decoder.layers.1.fc1.bias", -100),
        model="opt",
    ),
    Fault(
        "a tanh gives nothing but its ends",
        Found("deadActivations", "transformer.h.1.mlp.act"),
        "at -1 or 1",
        breaks=all_of(
            replaced("transformer.h.1.mlp.act", lambda _act: nn.Tanh()), scaled("transformer.h.1.mlp.c_fc.weight", 1e5)
        ),
        model="gpt2",
    ),
    Fault(
        "the other half of a gated MLP is zero",
        missed="its activation function works; that nothing is made of it shows in no module's numbers alone",
        breaks=filled(f"{LAYER}.3.mlp.up_proj.weight", 0),
    ),
]

HEADS = [
    Fault(
        "the queries of a layer are zero",
        Found("attention", f"{LAYER}.2"),
        f"{LAYER}.2.self_attn.q_proj.weight is zero",
        breaks=filled(f"{LAYER}.2.self_attn.q_proj.weight", 0),
    ),
    Fault(
        "the queries of a layer are scaled up",
        Found("attention", f"{LAYER}.3", step=5),
        f"{LAYER}.3.self_attn.q_proj.weight is",
        breaks=scaled(f"{LAYER}.3.self_attn.q_proj.weight", 20),
    ),
    Fault(
        "a mask shows every token itself only",
        Found("attention", f"{LAYER}.3"),
        "their own position only",
        breaks=masked(f"{LAYER}.3.self_attn", lambda query, key: query == key),
    ),
    Fault(
        "a mask of minus infinity hides everything",
        Found("attention", f"{LAYER}.3"),
        "see no position at all",
        breaks=masked(f"{LAYER}.3.self_attn", lambda query, key: key > query + 100, -math.inf),
    ),
    Fault(
        "a mask shows what comes later",
        missed="the last position, from which a token is chosen, may see everything",
        breaks=masked(f"{LAYER}.3.self_attn", lambda _query, key: key >= 0),
    ),
    Fault(
        "a mask hides all but two tokens",
        missed="a window is what many models have",
        breaks=masked(f"{LAYER}.3.self_attn", lambda query, key: (key <= query) & (key > query - 2)),
    ),
    Fault(
        "the halves of rotary embeddings are swapped",
        missed="every number is as it might be: only the text is wrong",
        breaks=rotary(swapped_halves),
    ),
]

TEXTS = [
    Fault(
        "there are no positions",
        Found("repetition", "sample", step=24),
        "' the capital of France is'",
        breaks=rotary(unturned),
    ),
    Fault("a repetition penalty below 1", Found("repetition", "sample", step=25), options={"repetition_penalty": 0.01}),
    Fault(
        "the text may not end",
        Found("repetition", "sample", step=92),
        "3 times the same 17",
        options={"eos_token_id": [], "max_new_tokens": 120},
    ),
    Fault(
        "the head is scaled down",
        Found("lowConfidence", "sample"),
        "the model prefers nothing",
        breaks=untied(scaled("lm_head.weight", 1e-4)),
    ),
    Fault("nobody has tied the head", Found("lowConfidence", "sample"), breaks=forgotten_head),
    Fault(
        "a temperature far too high",
        Found("lowConfidence", "sample"),
        "look at the temperature",
        options={**SAMPLED, "temperature": 100.0},
    ),
    Fault(
        "a temperature far too high, of the best 50",
        missed="what is drawn from looks like an open choice among a few, and the model itself is sure",
        options={"do_sample": True, "top_k": 50, "temperature": 100.0},
    ),
    Fault(
        "a temperature that leaves no choice",
        missed="the same as greedy decoding, which is nothing wrong",
        options={**SAMPLED, "temperature": 1e-3},
    ),
    Fault(
        "a repetition penalty that leaves nothing to say",
        missed="the text is nonsense that does not repeat itself, and the model is sure again of each next word",
        options={"repetition_penalty": 50.0},
    ),
    Fault(
        "the head is another tokenizer's",
        missed="the model is as sure as it should be, of other tokens",
        breaks=shuffled_head,
    ),
]

INPUTS = [
    Fault(
        "padding on the left without its mask",
        Found("padding", "step", sequence=1),
        "look at 3 positions of padding",
        gives=changed(TWO, lambda ids, mask: (ids, torch.ones_like(mask))),
    ),
    Fault(
        "padding on the right",
        Found("padding", "step", sequence=1),
        "3 positions stand behind the text",
        gives=changed(TWO, on_the_right),
    ),
    Fault(
        "a sequence that is nothing but padding",
        Found("padding", "step", sequence=1),
        "no text",
        gives=changed(TWO, lambda ids, mask: (torch.stack([ids[0], 0 * ids[1]]), torch.stack([mask[0], 0 * mask[1]]))),
    ),
    Fault(
        "a mask that is upside down",
        Found("padding", "step"),
        "hides 9 positions of the text",
        gives=changed(TWO, lambda ids, mask: (ids, 1 - mask)),
    ),
    Fault(
        "a mask that is moved by one",
        Found("padding", "step", sequence=1),
        "hides 1 position of the text",
        gives=changed(TWO, lambda ids, mask: (ids, torch.stack([mask[0], mask[1].roll(1) * mask[1]]))),
    ),
    Fault(
        "a chat template of another model",
        missed="to the model it is text like any other",
        gives=prompt(CHAT),
    ),
    Fault("tokens at random", missed="what the model says of them is sure enough", gives=random_text),
]

RAISES = [
    Fault(
        "a token that the model does not have",
        Found("forwardError", "model.embed_tokens"),
        "IndexError",
        gives=unknown_id,
        options={"may_fail": True},
    ),
    Fault(
        "a weight of the wrong shape",
        Found("forwardError", f"{LAYER}.2.self_attn.o_proj"),
        "RuntimeError",
        breaks=wrong_size(f"{LAYER}.2.self_attn.o_proj"),
        options={"may_fail": True},
    ),
    Fault(
        "a module that cannot do with so many positions",
        Found("forwardError", f"{LAYER}.3.self_attn", step=4),
        "position 9 is out of range",
        breaks=raising_at(f"{LAYER}.3.self_attn", 9),
        options={"may_fail": True},
    ),
]

FAULTS = [*NON_FINITE, *SIZES, *UNITS, *HEADS, *TEXTS, *INPUTS, *RAISES]
