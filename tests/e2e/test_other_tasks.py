"""Sessions on checkpoints that fill in, classify or translate, by the independent client, held against transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
)

from tests.e2e.conftest import Spawn
from tests.e2e.raw_client import Refused, names, values
from tests.e2e.tiny_checkpoints import save

MASKED = "The [MASK] of [MASK] is Paris"


def softmax(logits: torch.Tensor) -> Any:
    """In float64, of the last axis."""
    wide = logits.numpy().astype(np.float64)
    weights = np.exp(wide - wide.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@torch.no_grad()
def logits_of(kind: Any, folder: Path, text: str) -> torch.Tensor:
    """What a model says about one text, without padding."""
    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    logits: torch.Tensor = kind.from_pretrained(folder)(**inputs).logits
    return logits[0]


def test_a_masked_language_model_shows_what_it_would_fill_in(spawn: Spawn, tmp_path: Path) -> None:
    folder = save(tmp_path, "bert", "masked")
    client = spawn()
    client.response(client.begin(["bert.encoder.layer.1"], model=str(folder), prompt=MASKED))
    stopped = client.stop()
    assert stopped["text"] == "before bert.encoder.layer.1 in step 0"
    assert f"prompt  {MASKED!r}  8 tokens" in names(client.frames())
    weights = client.scope("Attention")
    assert len([name for name in weights if name.startswith("head ")]) == 4
    assert client.move("stepBack")["text"] == "before bert.encoder.layer.0 in step 0"
    client.move("stepIn")
    client.move("stepOut")
    assert client.place() == "bert.encoder.layer.0 (after)"
    (chosen,) = client.break_at("sample")
    why = "BertForMaskedLM does not generate, and is never at 'sample': set the breakpoint on a module"
    assert (chosen["verified"], chosen["message"]) == (False, why)
    client.break_at()

    end = client.move("continue")
    assert (end["description"], end["text"]) == ("forward pass finished", "end of the forward pass")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    probs = softmax(logits_of(AutoModelForMaskedLM, folder, MASKED))
    filled = MASKED
    result = client.scope("Result")
    lines = [MASKED]
    for number, position in ((1, 2), (2, 4)):
        best = np.argsort(-probs[position])[:5]
        texts = [repr(tokenizer.decode([token])) for token in best]
        row = result[f"mask {number}"]
        assert row["value"] == f"{texts[0]}  {probs[position][best[0]]:.2%} · position {position}"
        shown = [re.fullmatch(r"(.*)  id (\d+)  (\S+)", text) for text in values(client.open(row)).values()]
        assert [match and match[1] for match in shown] == texts
        assert [float(match[3]) for match in shown if match] == pytest.approx(probs[position][best].tolist(), rel=1e-5)
        filled = filled.replace("[MASK]", tokenizer.decode([best[0]]), 1)
        said = ", ".join(f"{text} {probs[position][token]:.2%}" for text, token in zip(texts, best, strict=True))
        lines.append(f"mask {number} at position {position}: {said}")
    assert client.output().splitlines() == [*lines, filled]

    assert client.move("stepBack")["text"] == "before the model in step 0"
    assert client.move("continue")["description"] == "forward pass finished"
    assert client.output().splitlines() == [*lines, filled], "said once"
    client.ask("continue", threadId=1)
    assert client.end() == 0


def test_a_classifier_labels_every_text_of_a_padded_batch(spawn: Spawn, tmp_path: Path) -> None:
    labels = ["NEGATIVE", "POSITIVE"]
    folder = save(tmp_path, "distilbert", "classification", labels)
    texts = ["one two", "The capital of France is Paris"]
    client = spawn()
    client.response(client.begin(model=str(folder), prompts=texts))
    assert client.stop()["description"] == "forward pass finished"
    assert [thread["name"] for thread in client.ask("threads")["threads"]] == [
        f"sequence {i}: {text}" for i, text in enumerate(texts, start=1)
    ]
    for i, text in enumerate(texts):
        probs = softmax(logits_of(AutoModelForSequenceClassification, folder, text))
        best = np.argsort(-probs)
        [frame] = client.frames(thread=i + 1, levels=1)
        row = client.scope("Result", frame)["label"]
        assert row["value"].split("  ")[0] == labels[best[0]]
        shown = [value.split() for value in values(client.open(row)).values()]
        assert [name for name, *_ in shown] == [labels[label] for label in best]
        assert [float(p) for *_, p in shown] == pytest.approx(probs[best].tolist(), rel=1e-4)
        assert f"[sequence {i + 1}] label: {labels[best[0]]} {probs[best[0]]:.2%}" in client.output()
    folded = client.send("restart", arguments={"model": str(folder), "prompt": "one", "generation": {"top_k": 3}})
    with pytest.raises(Refused, match=r"DistilBertForSequenceClassification does not generate.*leave out top_k"):
        client.response(folded)


def test_an_encoder_and_its_decoder_are_stopped_and_stepped_alike(spawn: Spawn, tmp_path: Path) -> None:
    folder = save(tmp_path, "t5", "seq2seq")
    prompt, options = "The capital of France is", {"max_new_tokens": 5}
    client = spawn()
    client.response(
        client.begin(["encoder.block.1", "decoder.block.0"], model=str(folder), prompt=prompt, generation=options)
    )
    assert client.stop()["text"] == "before encoder.block.1 in step 0"
    assert "encoder.block.0 (done)" in names(client.frames())
    with pytest.raises(Refused, match="the encoder reads this prompt just now: give another one from the first step"):
        client.ask("evaluate", expression="prompt = 'one two'", context="repl")
    assert client.move("stepBack")["text"] == "before encoder.block.0 in step 0"
    assert client.move("next")["text"] == "before encoder.block.1 in step 0"
    assert client.move("continue")["text"] == "before decoder.block.0 in step 0"
    assert f"prompt  {prompt!r}  7 tokens" in names(client.frames())
    assert client.move("continue")["text"] == "before decoder.block.0 in step 1"
    client.break_at()
    assert client.move("continue")["description"] == "generation finished"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder)
    ids = model.generate(**tokenizer(prompt, return_tensors="pt"), **options)[0]
    assert client.output() == f"{prompt}\n{tokenizer.decode(ids, skip_special_tokens=True)}\n"
    client.ask("evaluate", expression="prompt = 'one two'", context="repl")
    assert client.stop()["text"] == "step 0"
    assert client.move("continue")["description"] == "generation finished"
    ids = model.generate(**tokenizer("one two", return_tensors="pt"), **options)[0]
    assert client.output().endswith(f"] one two\n{tokenizer.decode(ids, skip_special_tokens=True)}\n")


def test_a_checkpoint_of_another_kind_is_refused_by_its_name(spawn: Spawn, tmp_path: Path) -> None:
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    BertForTokenClassification(config).save_pretrained(tmp_path)
    client = spawn()
    with pytest.raises(Refused, match="holds a BertForTokenClassification, which is none of the classes"):
        client.response(client.begin(model=str(tmp_path), prompt="one"))
