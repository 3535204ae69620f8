"""Attention of many architectures: its weights, and which token stands behind a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.analysis.attention.capture import attention_calls
from dap_server.engine.analysis.attention.rows import Labels, attention_scope, calls_in
from dap_server.engine.analysis.attention.weights import AttentionCall, DispatchedCall
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.attention.text import UNKNOWN
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.variables import Row
from tests.engine.walk import Walk
from tests.models.attention import EXACT, difference_from_eager_run, differences_in_step, largest_difference
from tests.models.tiny import EOS, VOCABULARY, tiny_inputs, tiny_model

LENGTH, LAST = 12, 5
PADDING = 3
IDS = torch.randint(EOS + 1, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[1, :PADDING] = 0


def looking(model: Any, look: Callable[[Walk, Stop], None], **options: Any) -> None:
    """Generates a few tokens for a padded batch, and looks at the first and the last step."""

    def decide(stop: Stop) -> Motion:
        if stop.place.step in (0, LAST):
            look(walk, stop)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, ["sample"])
    asked = {"max_new_tokens": LAST + 1, "min_new_tokens": LAST + 1, "disable_compile": True, **options}
    walk.generate(input_ids=IDS, attention_mask=MASK, **asked)
    assert len(walk.stops) == LAST + 1


def all_calls(walk: Walk, stop: Stop, path: str = "") -> list[AttentionCall]:
    frames = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
    return calls_in(frames[0], path, walk.anatomy)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("llama", "AttentionInterface"),
        ("gemma3_text", "AttentionInterface"),
        ("mistral", "AttentionInterface"),
        ("phi3", "AttentionInterface"),
        ("llama4_text", "AttentionInterface"),
        ("opt", "AttentionInterface"),
        ("t5", "AttentionInterface"),
        ("bart", "AttentionInterface"),
        ("deepseek_v3", "AttentionInterface"),
        ("diffllama", "AttentionInterface"),
        ("falcon", "scaled_dot_product_attention"),
    ],
)
def test_weights_under_sdpa(name: str, source: str) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.tape is not None
        found = differences_in_step(stop.generation.tape, stop.place.step, walk.anatomy)
        assert found.calls == (4 if name in ("t5", "bart") else 2)
        assert found.sources == [source]
        assert found.largest < EXACT

    looking(tiny_model(name, attn_implementation="sdpa"), look)


@pytest.mark.parametrize(
    "name", ["gemma2", "gpt_oss", "granite_swa", "bloom", "mpt", "gpt_neo", "falcon", "t5", "fsmt", "xglm"]
)
def test_weights_are_those_that_an_eager_run_returns(name: str) -> None:
    model = tiny_model(name, attn_implementation="eager")
    asked = {"max_new_tokens": LAST + 1, "min_new_tokens": LAST + 1, "disable_compile": True}
    plain = model.generate(
        input_ids=IDS, attention_mask=MASK, output_attentions=True, return_dict_in_generate=True, **asked
    )

    def look(walk: Walk, stop: Stop) -> None:
        step, calls = stop.place.step, all_calls(walk, stop)
        assert max(map(largest_difference, calls)) < EXACT
        if model.config.is_encoder_decoder:
            own = [call for call in calls if not call.text.is_cross]
            other = [call for call in calls if call.text.is_cross]
            assert difference_from_eager_run(own, plain.decoder_attentions[step]) < EXACT
            assert difference_from_eager_run(other, plain.cross_attentions[step]) < EXACT
        else:
            assert difference_from_eager_run(calls, plain.attentions[step]) < EXACT

    looking(model, look)


@pytest.mark.parametrize(
    ("name", "options", "keys"),
    [
        ("llama", {}, [17, 17]),
        ("gemma2", {}, [8, 17]),
        ("gemma3_text", {}, [8, 17]),
        ("gpt_oss", {}, [8, 17]),
        ("mistral", {}, [8, 8]),
        ("llama4_text", {}, [8, 17]),
        ("phi3", {}, [17, 17]),
        ("llama", {"cache_implementation": "static"}, [17, 17]),
        ("gemma2", {"cache_implementation": "static"}, [8, 17]),
        ("gemma3_text", {"prefill_chunk_size": 5}, [8, 17]),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, dict)) else "",
)
def test_a_key_is_the_token_that_it_was_made_from(name: str, options: dict[str, Any], keys: list[int]) -> None:
    """The keys of a first layer do not depend on attention: one forward over the whole text makes the same ones."""
    model = tiny_model(name, attn_implementation="eager")
    text = model.generate(
        input_ids=IDS, attention_mask=MASK, max_new_tokens=LAST, min_new_tokens=LAST, disable_compile=True
    )
    mask = nn.functional.pad(MASK, (0, LAST), value=1)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    made = first_keys(model, text, mask, positions)  # (B, H, T, D)

    def look(walk: Walk, stop: Stop) -> None:
        calls = all_calls(walk, stop)
        if stop.place.step:
            assert [min(call.shape[3], call.text.known_keys) for call in calls] == keys
        for call in calls:
            last = call.text.first_query + call.shape[2]
            assert last == LENGTH + stop.place.step
            assert call.text.query_ids is not None
            assert call.text.key_ids is not None
            shown = call.text.query_ids[:, call.text.first_query : last]
            assert torch.equal(shown, text[:, call.text.first_query : last])
            assert call.text.start(1) == PADDING
        first = calls[0]
        assert isinstance(first, DispatchedCall)
        for key in range(first.shape[3]):
            position = first.text.key_position(key)
            if position is None:
                assert not first.key[:, :, key].any(), "an empty slot"
                assert Labels(first, 0, walk.vocabulary).key(key) == "empty slot"
                continue
            for sequence in range(2):
                if mask[sequence, position]:
                    ours, theirs = first.key[sequence, :, key], made[sequence, :, position]
                    assert torch.allclose(ours, theirs, atol=1e-5), (key, position)
                assert first.text.ids_of_keys(sequence, first.shape[3])[key] == text[sequence, position]  # type: ignore[index]

    looking(model, look, **options)


def first_keys(model: Any, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    call = once(model, lambda: model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False))[0]
    assert isinstance(call, DispatchedCall)
    return call.key


def once(model: nn.Module, forward: Callable[[], Any], path: str = "") -> list[AttentionCall]:
    """The calls of attention in a forward, as a bare call is replayed."""
    walk = Walk(Loaded(model, None))
    generation = Generation()
    walk.stepper.begin(generation)
    device = torch.device("cpu")
    found: list[AttentionCall] = []

    def finish(_: Any) -> None:
        found.extend(attention_calls(call, 0, path, walk.anatomy))

    with torch.no_grad():
        call = WholeCall(walk.stepper, generation, device, forward, finish)
        call.run()
    walk.stepper.end()
    walk.stepper.release()
    return found


def test_the_share_of_a_learnt_sink_is_what_is_missing() -> None:
    for name in ("gpt_oss", "granite_swa"):
        model = tiny_model(name)
        for layer in model.model.layers:
            nn.init.normal_(layer.self_attn.sinks, generator=torch.Generator().manual_seed(2))

        def look(walk: Walk, stop: Stop) -> None:
            for call in all_calls(walk, stop):
                assert isinstance(call, DispatchedCall)
                rows = call.rows(0)
                assert rows.sink is not None
                assert torch.allclose(rows.weights.sum(-1) + rows.sink, torch.ones_like(rows.sink), atol=1e-6)
                assert 0 < float(rows.sink[:, -1].min()) < float(rows.sink[:, -1].max()) < 1

        looking(model, look)


# --- encoders


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_cross_attention_looks_at_the_tokens_of_the_encoder(name: str) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        calls = all_calls(walk, stop)
        assert [call.kind(0) for call in calls] == ["self", "cross"] * 2
        for call in calls:
            text = call.text
            assert text.query_ids is not None
            assert text.key_ids is not None
            assert text.first_query == stop.place.step
            if text.is_cross:
                assert torch.equal(text.key_ids, IDS)
                assert call.weights(1)[..., :PADDING].abs().max() == 0, "padding of the encoder's text"
            else:
                assert stop.generation.input_ids is not None
                assert torch.equal(text.key_ids[:, : text.known_keys], stop.generation.input_ids[:, : text.known_keys])

    looking(tiny_model(name), look)


@pytest.mark.parametrize(("name", "path"), [("t5", "encoder.block.1"), ("bart", "model.encoder.layers.1")])
def test_the_encoder_is_run_again_beside_a_step(name: str, path: str) -> None:
    model = tiny_model(name, attn_implementation="eager")
    expected = model.generate(
        input_ids=IDS, attention_mask=MASK, max_new_tokens=LAST + 1, min_new_tokens=LAST + 1, output_attentions=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    looks = 0

    def look(walk: Walk, stop: Stop) -> None:
        nonlocal looks
        (call,) = all_calls(walk, stop, path)
        assert call.kind(0) == "encoder"
        assert call.text.key_ids is not None
        assert torch.equal(call.text.key_ids, IDS)
        assert difference_from_eager_run([call], expected.encoder_attentions[1:]) < EXACT
        looks += 1

    looking(model, look)
    assert looks == 2


def test_a_stop_in_the_encoder_shows_its_attention() -> None:
    model = tiny_model("t5")
    rows: list[Row] = []

    def decide(stop: Stop) -> Motion:
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)[0]
        scope = attention_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows.extend(scope.children.named_rows())
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, ["encoder.block.1"])
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "disable_compile": True}
    actual = walk.generate(input_ids=IDS, attention_mask=MASK, **options)
    assert walk.stops == ["function breakpoint: before encoder.block.1 in step 0"]
    assert rows[0].value == "encoder attention · sdpa · 4 heads · 12 × 12"
    assert [row.name for row in rows[1:]] == [f"head {h}" for h in range(4)]
    assert torch.equal(actual, model.generate(input_ids=IDS, attention_mask=MASK, **options))


@pytest.mark.parametrize("name", ["bert", "deberta", "modernbert"])
def test_a_model_that_fills_in_shows_its_attention(name: str) -> None:
    model = tiny_model(name, "masked")
    inputs = tiny_inputs(model, "masked", batch=2)
    calls = once(model, lambda: model(**inputs))
    assert calls
    for call in calls:
        assert call.kind(0) == "encoder"
        assert call.text.key_ids is not None
        assert torch.equal(call.text.key_ids, inputs["input_ids"])
        assert largest_difference(call) < EXACT


# --- models that are no transformers


class OfTorch(nn.Module):
    """Layers of torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True) for _ in range(2))

    def forward(self, input_ids: Tensor) -> Any:
        hidden: Tensor = self.embedding(input_ids)
        mask = nn.Transformer.generate_square_subsequent_mask(input_ids.shape[1])
        for layer in self.layers:
            hidden = layer(hidden, src_mask=mask)
        return hidden


class Fused(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.qkv = kind, nn.Linear(16, 32)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, length, _ = hidden.shape
        query, key, value = self.qkv(hidden).split([16, 8, 8], dim=-1)
        query = query.view(batch, length, 4, 4).transpose(1, 2)
        key, value = (states.view(batch, length, 2, 4).transpose(1, 2) for states in (key, value))
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        if self.kind == "own":
            scores = (query @ key.repeat_interleave(2, 1).transpose(2, 3)).masked_fill(~mask, -torch.inf)
            mixed = scores.softmax(-1) @ value.repeat_interleave(2, 1)
        else:
            how: dict[str, dict[str, Any]] = {
                "causal": {"is_causal": True},
                "boolean": {"attn_mask": mask},
                "added": {"attn_mask": torch.zeros(length, length).masked_fill(~mask, -torch.inf), "scale": 0.7},
            }
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True, **how[self.kind])
        joined: Tensor = mixed.transpose(1, 2).reshape(batch, length, 16)
        return joined


class OfMyOwn(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.layers = nn.ModuleList(Fused(kind) for _ in range(2))

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden: Tensor = self.embedding(input_ids)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return hidden


@pytest.mark.parametrize(
    ("model", "source"),
    [
        (OfMyOwn("causal"), "scaled_dot_product_attention"),
        (OfMyOwn("boolean"), "scaled_dot_product_attention"),
        (OfMyOwn("added"), "scaled_dot_product_attention"),
        (OfMyOwn("own"), "softmax"),
        (OfTorch().eval(), "multi_head_attention_forward"),
    ],
    ids=["causal", "boolean mask", "added mask", "softmax", "torch's layers"],
)
def test_plain_modules_show_their_attention(model: nn.Module, source: str) -> None:
    calls = once(model, lambda: model(input_ids=IDS))
    assert [call.source for call in calls] == [source] * 2
    assert [call.path.startswith(f"layers.{i}") for i, call in enumerate(calls)] == [True, True]
    for call in calls:
        assert call.shape == (2, 4, LENGTH, LENGTH)
        assert (call.kind(0), call.text.known_keys) == ("self", LENGTH)
        assert torch.equal(call.text.key_ids, IDS)  # type: ignore[arg-type]
        assert largest_difference(call) < EXACT
        assert not call.weights(0).triu(1).any()


# --- the forms of masks


def test_flash_attention_is_told_of_padding_windows_and_slots() -> None:
    """By the kernel's own words: which keys are no padding, the rest counted from the last key, and a window."""
    torch.manual_seed(0)
    model = tiny_model("llama", attn_implementation="eager")
    module, eager = model.model.layers[0].self_attn, _eager_of(model)
    module.is_causal = True
    queries, slots, seen, window = 3, 12, 9, 4
    query, key = torch.randn(2, 4, queries, 8), torch.randn(2, 2, slots, 8)
    padding = torch.ones(2, seen, dtype=torch.bool)
    padding[1, :7] = False
    call = DispatchedCall(
        module=module, kernel="flash_attention_2", query=query, key=key, value=key, mask=padding,
        options={"scaling": 0.3, "sliding_window": window}, eager=eager, is_eager=False,
    )  # fmt: skip
    for sequence in range(2):
        weights = call.weights(sequence)
        for row in range(queries):
            own = seen - queries + row
            open_ = [k for k in range(slots) if own - window < k <= own and bool(padding[sequence, k])]
            scores = torch.einsum("hd,hkd->hk", query[sequence, :, row], key[sequence].repeat_interleave(2, 0)) * 0.3
            if not open_:
                assert weights[:, row].isnan().all()
                continue
            expected = torch.zeros(4, slots)
            expected[:, open_] = scores[:, open_].softmax(-1)
            assert torch.allclose(weights[:, row], expected, atol=1e-6)


def test_a_mask_of_flex_attention_is_a_function() -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    torch.manual_seed(0)
    model = tiny_model("llama", attn_implementation="eager")
    module, eager = model.model.layers[0].self_attn, _eager_of(model)
    query, key = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8)
    start = torch.tensor([0, 2])
    mask = create_block_mask(lambda b, _h, q, k: (k <= q) & (k >= start[b]), 2, None, 6, 6, device="cpu")
    options: dict[str, Any] = {"scaling": 0.3}
    shared = {"module": module, "query": query, "key": key, "value": key, "options": options, "eager": eager}
    call = DispatchedCall(mask=mask, kernel="flex_attention", is_eager=False, **shared)
    dense = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()
    dense[1, :, :, :2] = False
    other = DispatchedCall(mask=dense, kernel="sdpa", is_eager=False, **shared)
    for sequence in range(2):
        rows = slice(1, 5)
        assert torch.equal(call.weights(sequence, rows).nan_to_num(2), other.weights(sequence, rows).nan_to_num(2))


def _eager_of(model: Any) -> Any:
    call = once(model, lambda: model(input_ids=IDS))[0]
    assert isinstance(call, DispatchedCall)
    return call.eager


def test_half_precision_shows_no_sink_that_is_only_rounding() -> None:
    model = tiny_model("llama", attn_implementation="sdpa").to(torch.bfloat16)
    for call in once(model, lambda: model(input_ids=IDS)):
        assert call.rows(0).sink is None
        assert call.weights(0).dtype is torch.bfloat16


def test_what_is_not_known_has_no_name() -> None:
    model = tiny_model("llama")
    calls = once(model, lambda: model(inputs_embeds=torch.randn(2, 5, 32)))
    assert calls[0].text.query_ids is None
    labels = Labels(calls[0], 0, Vocabulary(None))
    assert (labels.query(3), labels.key(2)) == ("position 3", "position 2")
    assert calls[0].text.id_of_query(0, 3) == UNKNOWN
    assert Anatomy(model).layer_of(calls[0].path) == 0
