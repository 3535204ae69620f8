"""Heads, patterns and scores that are edited: against attention by hand, and against hooks on the output projection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack
from transformers.modeling_utils import AttentionInterface

from dap_server.engine.analysis.attention.capture import Hearing
from dap_server.engine.analysis.attention.weights import AttentionCall, EditedCall
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.attention.text import AttentionText
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Steps
from dap_server.engine.execution.edits.outcomes import Outcomes
from dap_server.engine.execution.edits.patterns import pattern_by_position, pattern_in_place
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.execution.probes import Enough, aside, instrumented
from tests.engine.execution.edits.reference import attention_by_hand
from tests.engine.execution.recorded import recorded
from tests.models.tiny import EOS, VOCABULARY, tiny_model

LENGTH, STEPS, PADDING = 9, 4, 3
IDS = torch.randint(EOS + 1, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[1, :PADDING] = 0
GENERATE: dict[str, Any] = {
    "input_ids": IDS, "attention_mask": MASK, "max_new_tokens": STEPS, "min_new_tokens": STEPS,
    "disable_compile": True, "output_logits": True, "return_dict_in_generate": True,
}  # fmt: skip
CLOSE = 1e-5
"""Between logits of a run in float32 and one whose attention is computed in float64."""

ZERO = Change("zero")


def edit(path: str, value: Any, change: Change = ZERO, number: int = 1, **chosen: Any) -> Edit:
    return Edit(AttentionValue(path, value, **chosen), change, Steps(), id=number)


class Edited:
    """A model with edits, applied to whatever runs inside of `with`; `said` are the problems."""

    def __init__(self, model: nn.Module, *edits: Edit) -> None:
        self._outcomes, self._open = Outcomes(), ExitStack()
        self._applied = ModuleEdits(Anatomy(model)).applied(lambda: (0, edits), self._outcomes)

    @property
    def said(self) -> list[str]:
        return list(self._outcomes.problems.values())

    def __enter__(self) -> Edited:
        self._open.enter_context(self._applied)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def logits(model: Any, **options: Any) -> Tensor:
    """(steps, B, V) of a padded batch, with the tokens of the first run, whatever an edit would choose."""
    return torch.stack(model.generate(**{**GENERATE, **options}).logits)


def attention_paths(model: nn.Module) -> list[str]:
    """Of the modules that compute attention, in the order of their calls."""
    return [call.path for call in called(model)]


def inputs(model: Any) -> dict[str, Tensor]:
    given = {"input_ids": IDS, "attention_mask": MASK}
    return {**given, "decoder_input_ids": IDS.flip(1)} if model.config.is_encoder_decoder else given


def called(model: Any) -> list[AttentionCall]:
    """The calls of attention in one forward."""
    anatomy = Anatomy(model)
    hearing = Hearing("", anatomy)
    with torch.no_grad(), hearing.closed_afterwards(), instrumented(anatomy, hearing), pytest.raises(Enough):
        model(**inputs(model))
    return hearing.calls


PROJECTIONS = {
    "llama": "o_proj", "mistral": "o_proj", "gemma2": "o_proj", "gpt_oss": "o_proj", "mixtral": "o_proj",
    "deepseek_v3": "o_proj", "qwen3_moe": "o_proj", "gpt2": "c_proj", "t5": "o", "bart": "out_proj", "falcon": "dense",
    "bloom": "dense", "gpt_neo": "out_proj", "xglm": "out_proj",
}  # fmt: skip
"""What the heads of a type are joined by: beside what is called, or in it."""


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_head_that_is_ablated_gives_nothing_to_the_output_projection(name: str) -> None:
    model = tiny_model(name)
    plain = logits(model)
    for path in attention_paths(model)[-2:]:
        module = model.get_submodule(path)
        heads = called(model)[-1].shape[1]
        width = _given_width(model, module, PROJECTIONS[name]) // heads

        def without_head(_module: nn.Module, args: Any, width: int = width) -> Any:
            joined = args[0].clone()
            joined[..., width : 2 * width] = 0
            return (joined, *args[1:])

        handle = getattr(module, PROJECTIONS[name]).register_forward_pre_hook(without_head)
        expected = logits(model)
        handle.remove()
        with Edited(model, edit(path, "heads", heads=(1,))) as edited:
            assert torch.equal(logits(model), expected), path
        assert not edited.said
        assert not torch.equal(expected, plain), path
    assert torch.equal(logits(model), plain)


def _given_width(model: nn.Module, module: nn.Module, projection: str) -> int:
    found: list[int] = []
    handle = getattr(module, projection).register_forward_pre_hook(lambda _m, args: found.append(args[0].shape[-1]))
    model(**inputs(model))
    handle.remove()
    return found[-1]


# --- where heads look


class ByStep:
    """What a test does to scores or shares (B, H, T, S) of one module, told which positions stand behind the axes."""

    def __init__(self, model: nn.Module, path: str, change: Callable[[Tensor, range, range], None]) -> None:
        self._module, self._change = model.get_submodule(path), change
        self._total, self._first = 0, 0

    def __call__(self, module: Any, values: Tensor) -> Tensor:
        if module is not self._module:
            return values
        queries, keys = values.shape[2:]
        self._total = self._total + 1 if self._total else queries
        changed = values.clone()
        self._change(changed, range(self._total - queries, self._total), range(max(self._total - keys, 0), self._total))
        return changed


def as_it_is(_module: Any, values: Tensor) -> Tensor:
    return values


BY_HAND = ["llama", "mistral", "gpt2", "gemma2", "gpt_oss", "mixtral", "t5", "deepseek_v3"]
"""Heads that share keys, windows, soft-capping, sinks, a bias of positions, an encoder, heads of several widths."""


@pytest.mark.parametrize("name", BY_HAND)
def test_a_key_whose_weight_is_taken_gives_nothing_in_any_step(name: str) -> None:
    model = tiny_model(name)
    plain, position = logits(model), 1 if name == "t5" else 5
    for path in own_attention(model)[-2:]:

        def without_key(shares: Tensor, _queries: range, keys: range) -> None:
            if position in keys:
                shares[:, 2, :, keys.index(position)] = 0

        with attention_by_hand(model, as_it_is, ByStep(model, path, without_key)):
            expected = logits(model)
        with Edited(model, edit(path, "pattern", heads=(2,), keys=(position,))) as edited:
            found = logits(model)
        assert not edited.said
        assert largest(found - expected) < CLOSE
        assert largest(found - plain) > 100 * CLOSE, path
    assert torch.equal(logits(model), plain)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {"cache_implementation": "static"}),
        ("gemma2", {"cache_implementation": "static"}),
        ("llama", {"prefill_chunk_size": 4}),
        ("gemma3_text", {"prefill_chunk_size": 4}),
        ("llama", {"num_beams": 2, "do_sample": False}),
    ],
    ids=str,
)
def test_a_key_is_a_position_of_the_text_however_it_is_kept(name: str, options: dict[str, Any]) -> None:
    model, position = tiny_model(name), 6
    plain, path = logits(model, **options), attention_paths(model)[0]
    seen = 0

    def without_key(module: Any, shares: Tensor) -> Tensor:
        nonlocal seen
        if module is not model.get_submodule(path):
            return shares
        seen += shares.shape[2]
        keys, changed = shares.shape[3], shares.clone()
        first = max(seen - keys, 0)  # a static cache has slots behind the text
        if 0 <= position - first < keys:
            changed[:, 1, :, position - first] = 0
        return changed

    with attention_by_hand(model, as_it_is, without_key):
        expected = logits(model, **options)
    with Edited(model, edit(path, "pattern", heads=(1,), keys=(position,))) as edited:
        found = logits(model, **options)
    assert not edited.said
    assert largest(found - expected) < CLOSE
    assert largest(found - plain) > 100 * CLOSE


def test_a_key_of_cross_attention_is_a_position_of_the_other_text() -> None:
    model = tiny_model("t5")
    (path, *_) = (path for path in attention_paths(model) if path.endswith("EncDecAttention"))
    plain = logits(model)

    def without_key(module: Any, shares: Tensor) -> Tensor:
        changed = shares.clone()
        if module is model.get_submodule(path):
            changed[1, :, :, 7] = 0
        return changed

    with attention_by_hand(model, as_it_is, without_key):
        expected = logits(model)
    with Edited(model, edit(path, "pattern", keys=(7,), sequences=(1,))) as edited:
        found = logits(model)
    assert not edited.said
    assert largest(found - expected) < CLOSE
    assert torch.equal(found[:, 0], plain[:, 0])
    assert largest(found[:, 1] - plain[:, 1]) > 100 * CLOSE


@pytest.mark.parametrize("name", [name for name in BY_HAND if name != "gpt_oss"])  # which has a test of its own
def test_scores_are_changed_before_the_softmax_and_masked_keys_stay_masked(name: str) -> None:
    """The newest query attends to what is two tokens before it alone: all other keys are far below."""
    model = tiny_model(name)
    plain = logits(model)
    path = own_attention(model)[-1]

    def look_back(scores: Tensor, queries: range, keys: range) -> None:
        back = queries[-1] - 2
        if back in keys:
            scores[:, :, -1, keys.index(back)] = 9.0

    with attention_by_hand(model, ByStep(model, path, look_back), as_it_is):
        expected = logits(model)
    change = Change("set", number=9.0)
    with Edited(model, edit(path, "scores", change, queries=(-1,), keys=(-3,))) as edited:
        found = logits(model)
    steps = slice(2, None) if name == "t5" else slice(None)  # whose text begins with one token
    assert largest(found[steps] - expected[steps]) < CLOSE
    assert largest(found - plain) > 100 * CLOSE
    assert not edited.said or name == "t5"


def test_a_sink_has_no_score_that_could_be_changed() -> None:
    """Gpt-oss joins its sinks to the scores; with all scores pushed far down, they take everything."""
    model = tiny_model("gpt_oss")
    path = attention_paths(model)[0]
    module = model.get_submodule(path)
    outputs: list[Tensor] = []
    handle = module.o_proj.register_forward_pre_hook(lambda _module, args: outputs.append(args[0]))
    with Edited(model, edit(path, "scores", Change("set", number=-1e4), heads=(0,))):
        model(**inputs(model))
    model(**inputs(model))
    handle.remove()
    width = module.head_dim
    assert largest(outputs[0][..., :width]) == 0
    assert torch.equal(outputs[0][..., width:], outputs[1][..., width:])


@pytest.mark.parametrize("name", ["llama", "falcon", "bloom", "gpt2", "bert"])
def test_rows_that_an_edit_does_not_change_keep_their_bits(name: str) -> None:
    model = tiny_model(name, "masked" if name == "bert" else None)
    path = attention_paths(model)[0]
    joined: list[Tensor] = []
    names = {**PROJECTIONS, "bert": None}
    seen = model.get_submodule(path)
    watched = seen if names[name] is None else getattr(seen, str(names[name]))

    def note(_module: nn.Module, args: Any, output: Any) -> None:
        joined.append((output[0] if isinstance(output, tuple) else output) if names[name] is None else args[0])

    handle = watched.register_forward_hook(note)
    model(**inputs(model))
    change = Change("scale", number=0.5)
    for value in ("pattern", "scores"):
        with Edited(model, edit(path, value, change, heads=(1,), queries=(6,), sequences=(0,))):
            model(**inputs(model))
    handle.remove()
    plain, width = joined[0], joined[0].shape[-1] // 4
    for found in joined[1:]:
        same = found == plain
        assert not same[0, 6, width : 2 * width].all()
        same[0, 6, width : 2 * width] = True
        assert same.all()


@pytest.mark.parametrize("name", ["llama", "falcon", "bloom", "gemma2", "t5"])
def test_what_changes_no_number_changes_no_bit(name: str) -> None:
    model = tiny_model(name)
    plain, path = logits(model), attention_paths(model)[-1]
    same = Change("scale", number=1.0)
    with Edited(model, *(edit(path, value, same) for value in ("heads", "pattern", "scores"))):
        assert torch.equal(logits(model), plain)


def test_edits_of_a_module_are_made_one_after_the_other() -> None:
    model = tiny_model("llama")
    path = attention_paths(model)[0]
    twice = Change("scale", number=2.0), Change("set", number=0.25)
    with Edited(model, edit(path, "heads", twice[0], 1), edit(path, "heads", twice[1], 2)):
        one_way = logits(model)
    with Edited(model, edit(path, "heads", twice[1], 1), edit(path, "heads", twice[0], 2)):
        other_way = logits(model)
    with Edited(model, edit(path, "heads", Change("set", number=0.25), 1)):
        last_alone = logits(model)
    assert torch.equal(one_way, last_alone)
    assert not torch.equal(other_way, last_alone)


def test_an_edit_of_a_layer_is_one_of_the_attention_in_it() -> None:
    model = tiny_model("llama")
    with Edited(model, edit("model.layers.1", "heads", heads=(0,))):
        found = logits(model)
    with Edited(model, edit("model.layers.1.self_attn", "heads", heads=(0,))):
        assert torch.equal(logits(model), found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_precision(dtype: torch.dtype) -> None:
    model = tiny_model("llama").to(dtype)
    path = attention_paths(model)[1]
    with Edited(model, edit(path, "pattern", heads=(2,), keys=(5,))) as edited:
        found = logits(model)

    def without_key(shares: Tensor, _queries: range, keys: range) -> None:
        shares[:, 2, :, keys.index(5)] = 0

    with attention_by_hand(model, as_it_is, ByStep(model, path, without_key)):
        expected = logits(model)
    assert not edited.said
    assert largest(found[0].float() - expected[0].float()) < (0.05 if dtype is torch.bfloat16 else 0.01)


@pytest.mark.parametrize("name", ["llama", "falcon", "bloom", "gpt_oss"])
def test_what_an_edit_computes_is_no_operation_of_the_model(name: str) -> None:
    model = tiny_model(name)
    path = attention_paths(model)[0]

    def operations(*edits: Edit) -> list[str]:
        with Edited(model, *edits), recorded(model) as calls, torch.no_grad():
            model(**inputs(model))
        return [operation.name for operation in calls[0]]

    half = Change("scale", number=0.5)
    edits = [edit(path, value, half, number) for number, value in enumerate(("heads", "pattern", "scores"), 1)]
    assert operations(*edits) == operations()


def test_an_edit_that_names_a_module_and_one_in_it_is_made_once() -> None:
    model = tiny_model("llama")
    twice = Change("scale", number=2.0)
    with Edited(model, edit("model.layers.0.self_attn", "heads", twice)):
        once = logits(model)
    with Edited(model, edit("model.layers.0**", "heads", twice)):
        assert torch.equal(logits(model), once)


def test_too_little_memory_for_scores_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    plain, path = logits(model), attention_paths(model)[0]
    monkeypatch.setattr("dap_server.engine.execution.memory.free_bytes", lambda _device: 1000)
    with Edited(model, edit(path, "pattern")) as edited:
        assert torch.equal(logits(model), plain)
    assert "would need" in edited.said[0]


# --- other ways than transformers'


class Plain(nn.Module):
    """Torch's own attention, with or without weights."""

    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, states: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(states.shape[1])
        mixed: Tensor = self.attention(states, states, states, attn_mask=mask, need_weights=self.need_weights)[0]
        return mixed


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_of_torch_itself(need_weights: bool) -> None:
    model, states = Plain(need_weights).eval(), torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(2))
    plain = model(states)
    one = model.attention
    q, k, v = functional.linear(states, one.in_proj_weight, one.in_proj_bias).double().chunk(3, dim=-1)
    q, k, v = (part.view(2, 6, 4, 4).transpose(1, 2) for part in (q, k, v))
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    shares = (q @ k.transpose(2, 3) / 2).masked_fill(later, -torch.inf).softmax(-1)
    shares[:, 1, :, 0] = 0
    mixed = shares @ v
    mixed[:, 3] = 0
    joined = mixed.transpose(1, 2).flatten(2)
    expected = joined @ one.out_proj.weight.double().T + one.out_proj.bias.double()
    with Edited(
        model, edit("attention", "pattern", heads=(1,), keys=(0,)), edit("attention", "heads", ZERO, 2, heads=(3,))
    ) as edited:
        found = model(states)
    assert not edited.said
    assert largest(found - expected) < 1e-6
    assert torch.equal(model(states), plain)


# --- frozen patterns


def test_a_frozen_pattern_takes_the_place_of_another() -> None:
    """With where it looked frozen, what a layer gives depends on what it is given by its values alone."""
    model = tiny_model("llama", attn_implementation="eager")
    path = attention_paths(model)[1]
    plain = model(**inputs(model), output_attentions=True).attentions[1]
    frozen = Change("freeze", tensor=plain)
    disturbed = edit("model.layers.0.self_attn", "heads", Change("scale", number=-4.0), 1)
    with Edited(model, disturbed, edit(path, "pattern", frozen, 2)) as edited:
        found = model(**inputs(model), output_attentions=True).attentions[1]
    with Edited(model, disturbed):
        moved = model(**inputs(model), output_attentions=True).attentions[1]
    assert not edited.said
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found[1, :, PADDING:], plain[1, :, PADDING:])
    assert largest(moved - plain) > 1e-3


def test_a_frozen_pattern_in_later_steps_is_its_last_row() -> None:
    source = torch.tensor([[[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]]])  # (1, 1, 3, 3)
    step = torch.zeros(2, 1, 1, 5)
    whole = AttentionText(first_query=4, known_keys=5)
    assert pattern_in_place(source, step, whole)[1, 0, 0].tolist() == pytest.approx([0.2, 0.3, 0.5, 0, 0])
    window = AttentionText(first_query=4, first_key=1, known_keys=4)
    moved = pattern_in_place(source, step[..., :4], window)[0, 0, 0]
    assert moved.tolist() == pytest.approx([0.375, 0.625, 0, 0])
    slots = AttentionText(first_query=3, known_keys=4)  # of a static cache
    assert pattern_in_place(source, step, slots)[0, 0, 0].tolist() == pytest.approx([0.2, 0.3, 0.5, 0, 0])
    assert torch.equal(
        pattern_by_position(source[..., 1:], AttentionText(first_key=1, known_keys=2))[..., 1:], source[..., 1:]
    )


@pytest.mark.parametrize(
    ("shape", "text", "message"),
    [
        ((2, 1, 2, 3), AttentionText(known_keys=3), "3 queries, and this step 2"),
        ((2, 4, 3, 3), AttentionText(known_keys=3), "1 sequences × 1 heads, and here are 2 × 4"),
        ((1, 1, 1, 2), AttentionText(first_key=7, known_keys=2), "none of the keys"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused(shape: Any, text: AttentionText, message: str) -> None:
    with pytest.raises(CannotEdit, match=message):
        pattern_in_place(torch.full((1, 1, 3, 3), 1 / 3), torch.zeros(shape), text)


# --- what is said, heard and left


def test_who_looks_at_attention_sees_the_edited_pattern() -> None:
    for name in ("llama", "falcon", "bloom"):
        model = tiny_model(name)
        first, second = attention_paths(model)
        with Edited(model, edit(first, "pattern", heads=(2,), keys=(5,))):
            changed, other = called(model)
        assert isinstance(changed, EditedCall)
        assert not isinstance(other, EditedCall)
        assert (changed.path, other.path) == (first, second)
        weights = changed.weights(1)
        assert largest(weights[2, PADDING:, 5]) == 0
        assert largest(weights[1, 5:, 5]) > 0
        assert weights[:, :PADDING].isnan().all() == (name == "llama" or weights[:, 0].isnan().any())


@pytest.mark.parametrize(
    ("name", "path", "value", "chosen", "message"),
    [
        ("llama", "model.layers.0.self_attn", "heads", {"heads": (9,)}, "no heads 9: there are 4"),
        ("llama", "model.layers.0.self_attn", "heads", {"keys": (1,)}, "no keys: name them for a pattern"),
        ("llama", "model.layers.0.mlp", "pattern", {}, "'model.layers.0.mlp' computes no attention"),
        ("mamba", "backbone.layers.0", "heads", {}, "computes no attention"),
    ],
)
def test_what_cannot_be_edited_is_said_and_changes_nothing(
    name: str, path: str, value: str, chosen: dict[str, Any], message: str
) -> None:
    model = tiny_model(name)
    plain = model(**inputs(model)).logits
    with Edited(model, edit(path, value, **chosen)) as edited:
        assert torch.equal(model(**inputs(model)).logits, plain)
    assert len(edited.said) == 1
    assert message in edited.said[0]


def test_what_runs_aside_is_not_edited() -> None:
    model = tiny_model("bloom")
    path = attention_paths(model)[0]
    plain = model(**inputs(model)).logits
    beside: list[Tensor] = []

    def look(_module: nn.Module, _args: Any) -> None:
        if not beside:
            beside.append(plain[:0])
            with aside():
                beside.append(model(**inputs(model)).logits)

    handle = model.get_submodule(path).register_forward_pre_hook(look)
    with Edited(model, edit(path, "heads", heads=(0,))):
        found = model(**inputs(model)).logits
    handle.remove()
    assert torch.equal(beside[1], plain)
    assert not torch.equal(found, plain)


@pytest.mark.parametrize("name", ["llama", "bloom"])
def test_nothing_is_left_even_when_the_model_raises(name: str) -> None:
    model = tiny_model(name)
    path = attention_paths(model)[0]
    original, plain = AttentionInterface.get_interface, model(**inputs(model)).logits

    class Raised(BaseException):
        pass

    def fail(_module: nn.Module, _args: Any) -> None:
        raise Raised

    inside = next(iter(model.get_submodule(path).children()))
    handle = inside.register_forward_pre_hook(fail)
    with pytest.raises(Raised), Edited(model, edit(path, "pattern", heads=(0,))):
        model(**inputs(model))
    handle.remove()
    assert AttentionInterface.get_interface is original
    assert not _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(model(**inputs(model)).logits, plain)


def own_attention(model: nn.Module) -> list[str]:
    """Paths of those that look at the text that is written."""
    return [path for path in attention_paths(model) if "enc" not in path.lower()]


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())
