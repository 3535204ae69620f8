"""The example model knows what its README says, through plain ``transformers`` and its own tokenizer."""

import re
from itertools import chain
from random import Random

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from fixtures.train import corpus, evaluate
from tests.conftest import EXAMPLE_MODEL

THRESHOLDS = {
    "facts": 0.95,
    "copying": 0.9,
    "counting": 0.9,
    "sums": 0.9,
    "sentiment": 0.9,
    "binding": 0.9,
    "giving": 0.9,
    "opposites": 0.9,
}

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(EXAMPLE_MODEL)
    assert isinstance(loaded, PreTrainedTokenizerBase)
    return loaded


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    loaded = AutoModelForCausalLM.from_pretrained(EXAMPLE_MODEL)
    assert isinstance(loaded, LlamaForCausalLM)
    return loaded


def chat(tokenizer: PreTrainedTokenizerBase, *contents: str) -> str:
    """Turns of user and assistant, rendered up to the assistant's next words."""
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def test_is_small(model: LlamaForCausalLM) -> None:
    assert 1_000_000 <= model.num_parameters() <= 6_000_000
    assert (EXAMPLE_MODEL / "model.safetensors").stat().st_size <= 12_000_000


def test_is_wide_enough_to_look_at(model: LlamaForCausalLM) -> None:
    config = model.config
    assert config.num_key_value_heads is not None
    assert 6 <= config.num_hidden_layers <= 8
    assert config.num_attention_heads > config.num_key_value_heads > 1
    assert config.max_position_embeddings >= 4096


def test_special_ids_differ_and_agree(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    ids = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert len({*ids}) == len(ids)
    for config in (model.config, model.generation_config):
        assert [config.pad_token_id, config.bos_token_id, config.eos_token_id] == ids


def test_tokenizer_adds_bos_and_round_trips(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "The capital of France is Paris. Zürich 12?"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[1:] == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids[1:]) == text


def test_spans_of_the_corpus_are_cut_between_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    rng = Random(3)
    for piece in (corpus.write(rng) for _ in range(200)):
        spans = tokenizer([span.text for span in piece], add_special_tokens=False)["input_ids"]
        assert [*chain.from_iterable(spans)] == tokenizer(corpus.plain(piece), add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("task", evaluate.TASKS)
def test_knows(task: str, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    assert evaluate.accuracy(model, tokenizer, evaluate.TASKS[task]()) >= THRESHOLDS[task]


def test_asks_about_a_hundred_countries() -> None:
    stems = [stem for stem, _ in evaluate.fact_cases()]
    assert sum(stem.startswith("The capital of") for stem in stems) >= 100
    assert len({*stems}) == len(stems)


def test_goes_on_sensibly_and_stops(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    ids = evaluate.continuation(model, tokenizer("The capital of France is", return_tensors="pt"), 64)[0]
    assert tokenizer.decode(ids, skip_special_tokens=True) == (
        " Paris. The currency of France is the euro. The language of France is French. France is in Europe."
        " People in Paris speak French. People in Paris pay with the euro. Paris is a city in Europe."
    )
    assert ids[-1] == tokenizer.eos_token_id
    assert len(ids) > 40


def test_chat_template_renders(tokenizer: PreTrainedTokenizerBase) -> None:
    rendered = chat(tokenizer, "Hi", "Hello!", "What is 1 + 2?")
    assert rendered == "<s><|user|>Hi<|assistant|>Hello!</s><|user|>What is 1 + 2?<|assistant|>"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
        ("What is 3 + 4?", "3 + 4 = 7."),
        ("Repeat: red lamp tree.", "Again: red lamp tree."),
    ],
)
def test_chats(question: str, expected: str, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = tokenizer(chat(tokenizer, question), return_tensors="pt", add_special_tokens=False)
    ids = evaluate.continuation(model, encoded, 20)[0]
    assert tokenizer.decode(ids) == expected + tokenizer.eos_token


def test_has_the_induction_heads_that_the_readme_names(tokenizer: PreTrainedTokenizerBase) -> None:
    eager = AutoModelForCausalLM.from_pretrained(EXAMPLE_MODEL, attn_implementation="eager")
    scores = evaluate.induction_scores(eager, tokenizer)
    line = re.search(r"Induction heads.*?: (.*)", (EXAMPLE_MODEL / "README.md").read_text(encoding="utf-8"))
    assert line is not None
    named = [(int(layer), int(head)) for layer, head in re.findall(r"(\d+)\.(\d+)", line[1])]
    assert all(scores[layer, head] >= 0.85 for layer, head in named)
    assert divmod(int(scores.argmax()), scores.shape[1]) in named
