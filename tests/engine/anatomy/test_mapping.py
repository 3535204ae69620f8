"""The map of a model, from its configuration or from the model itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.mapping import map_model, map_of
from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.anatomy.tracing import TEXTS
from dap_server.modelmap.text import MapLine, ModelMap, read_map, rounded_flops, write_map
from tests.models.tiny import tiny_inputs, tiny_model

ROOT = Path(__file__).parents[3]
ATLAS = "fixtures/models/atlas"


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def lines_of(model_map: ModelMap) -> dict[str, MapLine]:
    return {line.path: line for line in model_map.lines}


@contextmanager
def calls_heard(model: nn.Module) -> Iterator[list[str]]:
    """The paths of the modules that are called, in the order of their first call."""
    order: dict[str, None] = {}
    handles = [
        module.register_forward_pre_hook(lambda _module, _args, path=path: order.setdefault(path))
        for path, module in model.named_modules()
    ]
    heard: list[str] = []
    try:
        yield heard
    finally:
        heard += order
        for handle in handles:
            handle.remove()


@pytest.mark.usefixtures("at_root")
def test_the_map_of_the_example_model_is_the_one_in_the_repository() -> None:
    written = (ROOT / "fixtures" / "maps" / "atlas.llmmap").read_bytes()
    assert write_map(map_model(ATLAS)).encode() == written
    assert not read_map(written.decode()).problems


@pytest.mark.usefixtures("at_root")
def test_a_model_and_its_configuration_have_the_same_map() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(ATLAS)
    assert write_map(map_of(model, ATLAS)) == write_map(map_model(ATLAS))


def test_neither_random_numbers_nor_the_model_are_touched() -> None:
    model = tiny_model("llama").train()
    heard: list[Any] = []
    handle = model.lm_head.register_forward_hook(lambda *_: heard.append(1))
    before = {name: (value, value.clone(), value._version) for name, value in model.state_dict(keep_vars=True).items()}
    states = (torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False))
    map_of(model)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert repr(states[2]) == repr(np.random.get_state(legacy=False))
    after = model.state_dict(keep_vars=True)
    assert before.keys() == after.keys()
    for name, (same, value, version) in before.items():
        assert after[name] is same
        assert torch.equal(same, value)
        assert same._version == version
    assert all(module.training for module in model.modules())
    assert not heard
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()) == 1
    handle.remove()


@pytest.mark.parametrize(
    ("name", "task"), [("llama", "causal"), ("bert", "masked"), ("t5", "seq2seq"), ("gpt2", "classification")]
)
def test_lines_stand_in_the_order_in_which_a_real_forward_calls(name: str, task: Any) -> None:
    model = tiny_model(name, task)
    model_map = map_of(model, task=Task[task.upper()])
    assert not model_map.order
    with torch.no_grad(), calls_heard(model) as heard:
        model(**tiny_inputs(model, task))
    modules = [line for line in model_map.lines if line.kind == "module"]
    assert [line.path for line in modules] == heard
    assert {line.path for line in model_map.lines if line.kind != "selection"} == {p for p, _ in model.named_modules()}
    assert model_map.parameters == sum(p.numel() for p in model.parameters())
    has_selection = any(line.kind == "selection" for line in model_map.lines)
    assert has_selection == (task in ("causal", "seq2seq"))


def test_operations_are_those_of_the_matrix_products() -> None:
    lines = lines_of(map_of(tiny_model("llama")))
    mlp = lines["model.layers.0.mlp"]
    assert mlp.parameters is not None
    assert mlp.flops == rounded_flops(2 * mlp.parameters)  # one multiplication and one addition a weight
    parts = [lines[f"{mlp.path}.{name}_proj"].flops or 0 for name in ("gate", "up", "down")]
    assert sum(parts) == pytest.approx(mlp.flops, rel=0.01)
    assert lines["model.layers.0.input_layernorm"].flops is None
    heads = lines["model.layers.0.self_attn"]
    assert heads.parameters is not None
    products = 2 * 2 * TEXTS[0].length * 4 * 8  # with all keys, and with all values, of four heads of eight
    assert heads.flops == rounded_flops(2 * heads.parameters + products)


def test_shapes_follow_the_text() -> None:
    lines = lines_of(map_of(tiny_model("t5", "seq2seq"), task=Task.SEQ2SEQ))
    assert (lines[""].inputs, lines[""].output) == ("(B, S)", "(B, T, 96)")
    assert lines["encoder.block.0"].output == "(B, S, 32)"
    assert lines["decoder.block.0.layer.1.EncDecAttention.k"].inputs == "(B, S, 32)"
    assert lines["decoder.block.0.layer.1.EncDecAttention.q"].inputs == "(B, T, 32)"


class Odd(nn.Module):
    """Reads a number from its input, which no model without weights has; its modules are registered the wrong way."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(4, 4)
        self.first = nn.Embedding(9, 4)
        self.parts = nn.ModuleList([nn.Identity()])

    def forward(self, tokens: Tensor) -> Tensor:
        count = int(tokens.sum())
        out: Tensor = self.second(self.first(tokens)) * count
        return out


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.layers = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embed.weight
        self.mixer = nn.Conv1d(4, 4, 1)
        self.spare = nn.Dropout()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for _ in range(2):
            x = self.layers["b"](x)
        x = self.layers["a"](x) @ self.mixer.weight[..., 0]
        out: Tensor = self.head(x)
        return out


def test_a_forward_that_cannot_be_traced_is_listed_as_it_is_written() -> None:
    model_map = map_of(Odd())
    assert [line.path for line in model_map.lines] == ["", "first", "second", "parts", "parts.0"]
    assert model_map.order.startswith("as the source is written; a forward on the meta device ended with")
    assert lines_of(model_map)["parts"].kind == "list"
    assert lines_of(model_map)["second"].can_stop
    assert read_map(write_map(model_map)).order == model_map.order


def test_a_model_that_cannot_be_copied_has_a_map() -> None:
    model = Odd()
    model.lock = __import__("threading").Lock()
    assert [line.path for line in map_of(model).lines] == ["", "first", "second", "parts", "parts.0"]


def test_what_is_special_about_a_module_stands_behind_it() -> None:
    lines = lines_of(map_of(Shared(), "mine"))
    assert list(lines) == ["", "embed", "layers", "layers.b", "layers.a", "head", "mixer", "spare"]
    assert {path: line.note for path, line in lines.items() if line.note} == {
        "layers": "a dictionary of 2, not called itself",
        "layers.b": "called 2 times",
        "head": "its weight is that of embed",
        "mixer": "not called: its weights are used directly",
        "spare": "not called: a forward over text does not come to it",
    }
    assert [path for path, line in lines.items() if not line.can_stop] == ["layers", "mixer", "spare"]
    assert lines[""].parameters == 9 * 4 + 2 * 20 + 20


def test_logits_processors_are_those_that_generate_makes() -> None:
    from transformers import GenerationConfig

    model = tiny_model("llama")
    selection = [line for line in map_of(model).lines if line.kind == "selection"]
    asked = GenerationConfig(
        do_sample=True, temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, typical_p=0.5, epsilon_cutoff=0.01, top_h=0.4,
        eta_cutoff=0.01, repetition_penalty=1.2, no_repeat_ngram_size=2, renormalize_logits=True, min_new_tokens=2,
        bad_words_ids=[[5]], suppress_tokens=[6], begin_suppress_tokens=[7], remove_invalid_values=True,
    )  # fmt: skip
    model._prepare_special_tokens(asked, device="cpu")
    made = model._get_logits_processor(asked, 3, torch.tensor([[5, 6, 7]]), device="cpu")
    heard = [type(processor).__name__ for processor in made]
    assert len(heard) == 15
    names = [line.path for line in selection]
    assert names[:2] == ["step", "logits"]
    assert names[-1] == "sample"
    assert [name for name in names if name in heard] == heard
    notes = {line.path: line.note for line in selection}
    assert notes["RepetitionPenaltyLogitsProcessor"] == "with repetition_penalty"
    assert notes["TopKLogitsWarper"] == "with top_k, when sampling"
    assert notes["SynthIDTextWatermarkLogitsProcessor"] == "with watermarking_config"
    assert notes["PrefixConstrainedLogitsProcessor"] == "with prefix_allowed_tokens_fn"
