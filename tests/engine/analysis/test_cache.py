"""What a model keeps of earlier tokens: against a plain run's cache, projections seen by hooks, and sizes by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, Fp8QuantizedLayer

from dap_server.engine.analysis.cache import contents
from dap_server.engine.analysis.cache.contents import CROSS, SELF, Kept
from dap_server.engine.analysis.cache.rows import cache_scope
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.values import held_tensors
from dap_server.engine.inspection.frames import CallStack, Frame
from dap_server.engine.inspection.variables import Row
from tests.engine.walk import Walk
from tests.models.tiny import PAD, tiny_config, tiny_model

PROMPTS = ["The capital of France is", "one two"]
LENGTH = 10
"""Of the prompt of tiny models: more than their windows hold."""
WINDOW = 8

STATIC = {"cache_implementation": "static"}

KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "gemma2": {},
    "gemma3_text": {},
    "gpt_neox": {},
    "qwen3_next": {},
    "jamba": {},
    "zamba2": {},
    "mamba": {},
    "lfm2": {},
    "minimax": {},
    "rwkv": {},
    "t5": {},
    "bart": {},
    "llama, static": STATIC,
    "mistral, static": STATIC,
    "gemma2, static": STATIC,
}


def ids_of(rows: int = 2, length: int = LENGTH) -> dict[str, Tensor]:
    ids = torch.randint(3, 90, (rows, length), generator=torch.Generator().manual_seed(1))
    ids[1, :3] = PAD
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def looking(
    loaded: Loaded, look: Callable[[Walk, Stop], None], breakpoints: list[str], inputs: Any, **options: Any
) -> Tensor:
    def decide(stop: Stop) -> Motion:
        look(walk, stop)
        return Motion.RUN

    walk = Walk(loaded, decide, breakpoints)
    ids: Tensor = walk.generate(**inputs, disable_compile=True, **options)
    return ids


def found(stop: Stop) -> Kept:
    cache = contents.find(stop)
    assert cache is not None
    return contents.read(cache, stop)


def sizes(value: Any) -> int:
    """Bytes of all that a plain run has kept, but for counters, which are single numbers."""
    return sum(t.nbytes for t in held_tensors(value) if t.dim() > 0)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_shown_is_what_a_plain_run_keeps(name: str) -> None:
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "use_cache": True, **KINDS[name]}
    kind = name.partition(",")[0]
    inputs = ids_of()
    asked = {"return_dict_in_generate": True, "disable_compile": True}
    plain = tiny_model(kind).generate(**inputs, **options, **asked)
    seen: list[Kept] = []
    rows: list[int] = []

    def look(walk: Walk, stop: Stop) -> None:
        cache = contents.find(stop)
        before = [(id(t), t._version, t.clone()) for t in held_tensors(cache)]
        for _ in range(2):
            kept = found(stop)
        after = list(held_tensors(cache))
        assert [(id(t), t._version) for t in after] == [(i, v) for i, v, _ in before]
        assert all(torch.equal(t, copy) for t, (_, _, copy) in zip(after, before, strict=True))
        if stop.place.step == 3:
            seen.append(kept)
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, 1)[0]
        scope = cache_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows.append(opened(scope.children.named_rows()))

    model = tiny_model(kind)
    walked = looking(Loaded(model, None), look, ["sample"], inputs, **options)
    assert torch.equal(walked, plain.sequences)
    (kept,) = seen
    expected = plain.past_key_values
    if expected is None:
        expected = getattr(plain, "cache_params", None) or getattr(plain, "state", None)
    if expected is not None:
        same_tensors(kept, expected)
    assert kept.nbytes <= kept.allocated
    assert min(rows) > 3


def same_tensors(kept: Kept, expected: Any) -> None:
    layers = getattr(expected, "layers", None)
    if hasattr(expected, "self_attention_cache"):
        assert [part.name for part in kept.parts] == [SELF, CROSS]
        layers = [*expected.self_attention_cache.layers, *expected.cross_attention_cache.layers]
    entries = kept.entries
    assert len(entries) == len(layers or [])
    for entry, layer in zip(entries, layers or [], strict=True):
        total = 0
        if getattr(layer, "keys", None) is not None and layer.keys.numel():
            held = slice(None) if entry.capacity is None else slice(0, min(int(layer.get_seq_length()), entry.capacity))
            assert entry.keys is not None
            assert entry.values is not None
            assert torch.equal(entry.keys, layer.keys[..., held, :])
            assert torch.equal(entry.values, layer.values[..., held, :])
            assert entry.seen == int(layer.get_seq_length())
            total += layer.keys[..., held, :].nbytes + layer.values[..., held, :].nbytes
        states = {k: v for k, v in vars(layer).items() if k not in ("keys", "values")}
        assert entry.nbytes == total + sizes(states)
    if isinstance(expected, list):  # a state of the model's own
        assert list(map(torch.Tensor.tolist, kept.states.values())) == [tensor.tolist() for tensor in expected]
        assert kept.nbytes == sizes(expected)
        return
    outside = {k: v for k, v in vars(expected).items() if "layers" not in k and "attention_cache" not in k}
    assert kept.nbytes == sum(entry.nbytes for entry in entries) + sizes(outside)


def opened(rows: list[Row], depth: int = 3) -> int:
    """How many rows there are, none of them an error and no two of one name."""
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), names
    for row in rows:
        assert not row.value.startswith("<"), row
        if row.children is not None and depth:
            opened([*row.children.named_rows(), *row.children.indexed_rows(0, 3)], depth - 1)
    return len(rows)


def test_sizes_by_hand_and_the_growth_of_a_token(atlas: Loaded) -> None:
    config = atlas.model.config
    heads, width, layers = config.num_key_value_heads, config.hidden_size // config.num_attention_heads, 6
    each = 2 * len(PROMPTS) * heads * width * 4 * layers  # keys and values, in float32
    inputs = atlas.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    prompt = inputs["input_ids"].shape[1]

    def look(walk: Walk, stop: Stop) -> None:
        kept = found(stop)
        tokens = prompt + stop.place.step
        assert (kept.seen, kept.nbytes, kept.per_token) == (tokens, each * tokens, each)
        assert [entry.added for entry in kept.entries] == [prompt if stop.place.step == 0 else 1] * layers
        rows = scope_rows(walk, stop)
        assert rows["tokens"].value == str(tokens)
        longest = config.max_position_embeddings
        assert rows["at its longest"].value.startswith(f"{each * longest:,} bytes with {longest:,} tokens")

    looking(atlas, look, ["sample"], inputs, max_new_tokens=3)


def test_keys_and_values_are_what_the_projections_gave(atlas: Loaded) -> None:
    """Values as they are; keys turned by their rotary angles, in float64."""
    inputs = atlas.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    layer = 2
    attention = atlas.model.model.layers[layer].self_attn
    heard: dict[str, list[Tensor]] = {"k_proj": [], "v_proj": []}
    handles = [
        getattr(attention, name).register_forward_hook(lambda _m, _a, output, name=name: heard[name].append(output))
        for name in heard
    ]
    atlas.model.generate(**inputs, max_new_tokens=3, disable_compile=True)
    for handle in handles:
        handle.remove()
    width = attention.head_dim
    k, v = (by_head(torch.cat(heard[name], dim=1), width) for name in heard)  # (B, H, S, D)
    mask = torch.cat([inputs["attention_mask"], torch.ones(2, 2, dtype=torch.long)], dim=1)
    positions = (mask.cumsum(-1) - 1).clamp_min(0).double()
    frequencies = atlas.model.config.rope_parameters["rope_theta"] ** -(torch.arange(0, width, 2).double() / width)
    angles = positions[:, None, :, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = k.double().chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    seen = []

    def look(walk: Walk, stop: Stop) -> None:
        if stop.place.step < 2:
            return
        entry = found(stop).entries[layer]
        assert entry.keys is not None
        assert entry.values is not None
        assert torch.equal(entry.values, v)
        real = mask.bool()[:, None, :, None]
        assert torch.allclose(entry.keys.double() * real, turned * real, atol=1e-5)
        rows = scope_rows(walk, stop, "model.layers.2")
        assert rows["tokens"].value == f"{entry.held} tokens"
        position = by_name(rows["positions"].children.indexed_rows(0, 100))["[4]"]  # type: ignore[union-attr]
        norm = float(turned[0, :, 4].norm())
        shown = position.value.partition("key norm ")[2].partition(",")[0]
        assert float(shown) == pytest.approx(norm, rel=1e-3)
        ids = inputs["input_ids"][0].tolist()
        assert position.value.startswith(f"{walk.vocabulary.quoted(ids[4])}  ")
        seen.append(stop.place.step)

    looking(atlas, look, ["sample"], inputs, max_new_tokens=3)
    assert seen == [2]


def by_head(projected: Tensor, width: int) -> Tensor:
    """(B, H, S, D) of (B, S, H · D)."""
    return projected.view(*projected.shape[:2], -1, width).transpose(1, 2)


def test_in_the_middle_of_a_step_earlier_layers_have_grown(atlas: Loaded) -> None:
    inputs = atlas.tokenizer(PROMPTS[:1], return_tensors="pt")
    prompt = inputs["input_ids"].shape[1]
    lines: list[str] = []

    def look(walk: Walk, stop: Stop) -> None:
        kept, step = found(stop), stop.place.step
        before = 0 if step == 0 else prompt + step - 1
        assert [e.seen for e in kept.entries] == [prompt + step] * 3 + [before] * 3
        lines.append(scope_rows(walk, stop, "LlamaForCausalLM")["as of"].value)
        assert (kept.per_token is None) == (step == 0), "of layers without a token yet nobody knows"
        scope = scope_rows(walk, stop)
        assert scope["added in this step"].value == "0"
        done = scope_rows(walk, stop, "model.layers.2 (done)")
        assert done["added in this step"].value == str(prompt if step == 0 else 1)

    looking(atlas, look, ["*.layers.3"], inputs, max_new_tokens=2)
    assert lines == [
        "before model.layers.3 in step 0: 3 of 6 layers have this step's tokens (6 each)",
        "before model.layers.3 in step 1: 3 of 6 layers have this step's tokens (1 each)",
    ]


def test_a_sliding_window_tells_which_positions_it_holds() -> None:
    model = tiny_model("mistral")
    inputs = ids_of(2)
    out = model.generate(**inputs, max_new_tokens=3, min_new_tokens=3)
    whole = DynamicCache()  # layers that hold everything
    with torch.no_grad():
        mask = torch.cat([inputs["attention_mask"], torch.ones(2, 2, dtype=torch.long)], dim=1)
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        model(out[:, :-1], attention_mask=mask, position_ids=positions, past_key_values=whole, use_cache=True)
    full = whole.layers[0].keys  # of the first layer a key depends on nothing but its own position
    for options in ({}, STATIC):
        seen: list[int] = []

        def look(walk: Walk, stop: Stop, seen: list[int] = seen) -> None:
            if stop.place.step == 2:
                entry = found(stop).entries[0]
                assert entry.seen == LENGTH + 2
                assert entry.held == (WINDOW if entry.capacity else WINDOW - 1)
                assert entry.first == LENGTH + 2 - entry.held
                assert entry.keys is not None
                real = mask.bool()[:, None, entry.first :, None]
                assert torch.allclose(entry.keys * real, full[:, :, entry.first :] * real, atol=1e-5)
                assert entry.per_token == 0
                rows = by_name(scope_rows(walk, stop)["layers"].children.indexed_rows(0, 1))  # type: ignore[union-attr]
                inner = by_name(rows["[0]"].children.named_rows())  # type: ignore[union-attr]
                assert inner["positions"].value == f"{entry.first} to {LENGTH + 1}"
                assert inner["added in this step"].value == "1"
                seen.append(1)

        looking(Loaded(model, None), look, ["sample"], inputs, max_new_tokens=3, min_new_tokens=3, **options)
        assert seen


def test_a_static_cache_tells_its_room_and_what_is_in_it() -> None:
    model = tiny_model("llama")
    seen: list[tuple[int, int | None, str]] = []

    def look(walk: Walk, stop: Stop) -> None:
        entry = found(stop).entries[1]
        line = scope_rows(walk, stop)["layers"].children.indexed_rows(1, 1)[0].value  # type: ignore[union-attr]
        seen.append((entry.held, entry.capacity, line.partition(" · ")[2].partition(" · ")[0]))
        assert (entry.allocated > entry.nbytes) == (entry.held < LENGTH + 2)

    looking(Loaded(model, None), look, ["sample"], ids_of(), max_new_tokens=3, min_new_tokens=3, **STATIC)
    room = LENGTH + 2
    assert seen == [(LENGTH + s, room, f"{LENGTH + s} of {room} tokens") for s in range(3)]


def test_states_of_linear_attention_have_no_keys_and_do_not_grow() -> None:
    model = tiny_model("qwen3_next")
    kinds = tiny_config("qwen3_next").layer_types
    sizes_seen: list[list[int]] = []

    def look(walk: Walk, stop: Stop) -> None:
        entries = found(stop).entries
        sizes_seen.append([entry.nbytes for entry in entries])
        for kind, entry in zip(kinds, entries, strict=True):
            assert (entry.keys is None) == (kind == "linear_attention")
            assert (set(entry.states) == {"conv_states", "recurrent_states"}) == (kind == "linear_attention")
            assert (entry.per_token == 0) == (kind == "linear_attention")

    looking(Loaded(model, None), look, ["sample"], ids_of(), max_new_tokens=2, min_new_tokens=2)
    for kind, before, after in zip(kinds, *sizes_seen, strict=True):
        assert (before == after) == (kind == "linear_attention")


def test_an_encoder_has_no_cache_and_a_decoder_has_two() -> None:
    model = tiny_model("t5")
    names: dict[str, list[str]] = {}

    def look(walk: Walk, stop: Stop) -> None:
        for frame in CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None):
            scope = cache_scope(frame, walk.anatomy, walk.vocabulary)
            names[frame.name] = [] if scope is None else [row.name for row in scope.children.named_rows()]

    looking(Loaded(model, None), look, ["decoder.block.1"], ids_of(), max_new_tokens=2, min_new_tokens=2)
    assert names["decoder.block.1 (before)"] == ["as of", SELF, CROSS]
    assert names["T5ForConditionalGeneration"][-2:] == [SELF, CROSS]
    assert all(not rows for name, rows in names.items() if name.startswith("encoder."))


def test_a_processor_that_calls_the_model_has_its_own_cache(atlas: Loaded) -> None:
    inputs = atlas.tokenizer(PROMPTS[:1], return_tensors="pt")
    prompt = inputs["input_ids"].shape[1]
    seen: list[tuple[int, bool, int | None]] = []

    def look(walk: Walk, stop: Stop) -> None:
        cache = contents.find(stop)
        seen.append((stop.place.step, contents.is_of_the_text(cache, stop), contents.read(cache, stop).seen))
        rows = scope_rows(walk, stop, "LlamaForCausalLM")
        assert rows["kind"].value == "DynamicCache"

    looking(atlas, look, ["*.layers.5"], inputs, max_new_tokens=2, guidance_scale=1.5)
    assert seen == [(0, True, prompt), (0, False, 1), (1, True, prompt + 1), (1, False, 2)]


def test_without_a_cache_there_is_no_scope(atlas: Loaded) -> None:
    inputs = atlas.tokenizer(PROMPTS[:1], return_tensors="pt")

    def look(walk: Walk, stop: Stop) -> None:
        frames = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
        assert all(cache_scope(frame, walk.anatomy, walk.vocabulary) is None for frame in frames)

    looking(atlas, look, ["*.layers.3", "sample"], inputs, max_new_tokens=2, use_cache=False)


def test_quantized_layers_are_counted_in_the_bytes_that_they_take() -> None:
    model = tiny_model("llama")
    seen: list[tuple[int | None, int, int]] = []

    def look(walk: Walk, stop: Stop) -> None:
        entry = found(stop).entries[0]
        seen.append((entry.seen, entry.nbytes, opened(scope_rows_list(walk, stop))))
        assert set(entry.states) == {"_quantized_keys[0]", "_quantized_values[0]"}

    cache = Cache(layer_class_to_replicate=Fp8QuantizedLayer)
    looking(Loaded(model, None), look, ["sample"], ids_of(), max_new_tokens=2, min_new_tokens=2, past_key_values=cache)
    each = 2 * 2 * model.config.num_key_value_heads * model.config.head_dim  # keys and values, two rows, a byte each
    assert [(tokens, size) for tokens, size, _ in seen] == [(LENGTH + s, each * (LENGTH + s)) for s in range(2)]


def test_of_beams_the_cache_has_all_rows() -> None:
    model = tiny_model("llama")
    seen: list[int] = []

    def look(walk: Walk, stop: Stop) -> None:
        kept = found(stop)
        entry = kept.entries[0]
        seen.append(0 if entry.keys is None else entry.keys.shape[0])
        opened(scope_rows_list(walk, stop))

    looking(Loaded(model, None), look, ["after:*.layers.0"], ids_of(), max_new_tokens=3, num_beams=2)
    assert seen[0] in (2, 4)


def scope_rows_list(walk: Walk, stop: Stop, name: str | None = None) -> list[Row]:
    frames = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
    frame: Frame = frames[0] if name is None else next(f for f in frames if f.name == name or f.path == name)
    scope = cache_scope(frame, walk.anatomy, walk.vocabulary)
    assert scope is not None
    assert not scope.expensive
    return scope.children.named_rows()


def scope_rows(walk: Walk, stop: Stop, name: str | None = None) -> dict[str, Row]:
    return by_name(scope_rows_list(walk, stop, name))


def by_name(rows: list[Row]) -> dict[str, Row]:
    assert not any(math.isnan(len(row.value)) for row in rows)
    return {row.name: row for row in rows}
