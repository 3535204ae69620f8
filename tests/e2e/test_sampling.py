"""How a token is chosen, over the wire: every stage against processors applied by hand to plain logits."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tests.e2e.conftest import Run
from tests.e2e.plain import Choice, Plain
from tests.e2e.raw_client import Json, RawClient, Refused, names, values

PROMPTS = ["The capital of", "one two three four"]
OPTIONS: dict[str, Any] = {
    "max_new_tokens": 3,
    "do_sample": True,
    "repetition_penalty": 1.3,
    "temperature": 1.7,
    "top_k": 40,
    "top_p": 0.9,
}
PROCESSORS = [
    RepetitionPenaltyLogitsProcessor(1.3, prompt_ignore_length=torch.tensor([1, 0])),  # the padding
    TemperatureLogitsWarper(1.7),
    TopKLogitsWarper(40),
    TopPLogitsWarper(0.9),
]


def by_hand(ids: Tensor, logits: Tensor) -> list[Tensor]:
    """Logits (B, V), and the scores after every processor."""
    stages = [logits]
    for processor in PROCESSORS:
        stages.append(processor(ids, stages[-1].clone()))
    return [*stages, stages[-1]]


def check(body: Json, stages: list[Tensor], sequence: int, token: int, text: str) -> None:
    wanted = ["logits", *(type(processor).__name__ for processor in PROCESSORS), "probabilities"]
    assert [stage["name"] for stage in body["stages"]] == wanted
    assert (body["token"]["id"], body["sequence"], body["draw"]) == (token, sequence, "sampled")
    assert repr(body["token"]["text"]) == text
    before: Choice | None = None
    for stage, scores in zip(body["stages"], stages, strict=True):
        choice = Choice(scores[sequence])
        assert stage["entropy"] == pytest.approx(choice.entropy, rel=1e-9, abs=1e-12), stage["name"]
        assert stage["tokens"] == int((scores[sequence] > -torch.inf).sum())
        assert stage["rank"] == choice.rank(token)
        assert stage["chosen"]["probability"] == pytest.approx(choice.probs[token], rel=1e-9)
        best = choice.probs[choice.best(min(5, stage["tokens"]))].tolist()
        assert [t["probability"] for t in stage["top"]] == pytest.approx(best, rel=1e-9)
        if stage["kind"] == "processor":
            assert before is not None
            gone = (choice.probs == 0) & (before.probs > 0)
            assert stage.get("pruned", 0) == int(gone.sum())
            assert stage["prunedMass"] == pytest.approx(before.probs[gone].sum(), rel=1e-9, abs=1e-15)
        before = choice
    options = {stage["name"]: {o["name"]: o["value"] for o in stage["options"]} for stage in body["stages"][1:-1]}
    assert options["TemperatureLogitsWarper"] == {"temperature": "1.7"}
    assert options["TopKLogitsWarper"]["top_k"] == "40"
    assert body["prunedMass"] == pytest.approx(
        1 - Choice(stages[0][sequence]).probs[Choice(stages[-1][sequence]).probs > 0].sum()
    )


def test_the_whole_chain_of_every_step_from_every_frame_that_has_one(run: Run, plain: Plain) -> None:
    asked = {"output_logits": True, "return_dict_in_generate": True}
    expected = plain.generate(*PROMPTS, seed=7, **OPTIONS, **asked)
    prompt = plain.encode(*PROMPTS)["input_ids"].shape[1]
    stages = [by_hand(expected.sequences[:, : prompt + s], expected.logits[s]) for s in range(3)]

    client = run("sample", "*.layers.4", prompts=PROMPTS, seed=7, generation=OPTIONS)
    for _ in range(6):  # in a layer, and at the choice, of three steps
        place = client.stop()["text"]
        for sequence in range(2):
            for frame in client.frames(thread=sequence + 1):
                kind = frame["name"].partition(" ")[0]
                if kind not in ("sample", "step"):
                    continue
                body = client.ask("llm/sampling", frameId=frame["id"], top=5)
                token = int(expected.sequences[sequence, prompt + body["step"]])
                check(body, stages[body["step"]], sequence, token, plain.token(token))
                assert body["isChosen"] == (frame.get("presentationHint") == "subtle"), place
        client.ask("continue", threadId=1)
    client.stop()


def test_a_processor_is_a_place_that_shows_what_it_did(run: Run, plain: Plain) -> None:
    asked = {"output_logits": True, "return_dict_in_generate": True}
    expected = plain.generate(*PROMPTS, seed=7, **OPTIONS, **asked)
    ids = plain.encode(*PROMPTS)["input_ids"]
    stages = by_hand(ids, expected.logits[0])

    client = run("logits", prompts=PROMPTS, seed=7, generation=OPTIONS)
    client.stop()
    seen = []
    for i, processor in enumerate(PROCESSORS, start=1):
        name = type(processor).__name__
        client.move("stepIn")
        assert names(client.frames())[:3] == [f"{name} (before)", f"{name}.__call__", "step 0 (prefill)"]
        seen.append(name)
        shown = values(client.scope("Processor"))
        before, after = Choice(stages[i - 1][0]), Choice(stages[i][0])
        gone = (after.probs == 0) & (before.probs > 0)
        assert float(shown["pruned mass"]) == pytest.approx(before.probs[gone].sum(), rel=1e-8, abs=1e-15)
        assert shown["pruned"] == f"{int(gone.sum()):,} tokens"
        assert float(shown["entropy before"]) == pytest.approx(before.entropy, rel=1e-8)
        assert float(shown["entropy after"]) == pytest.approx(after.entropy, rel=1e-8)
        changed = int((stages[i - 1][0] != stages[i][0]).sum())
        assert shown["changed"] == f"{changed:,} of {stages[0].shape[1]:,} scores"
    assert client.evaluate("processor.top_p", frameId=client.frames()[0]["id"]) == "0.9"
    assert client.evaluate("self.top_p + scores.shape[0]", frameId=client.frames()[1]["id"]) == "2.9"
    again = client.move("stepIn")
    assert again["text"] == "before sample in step 0"
    client.ask("restartFrame", frameId=client.frames()[0]["id"])
    assert client.stop()["text"] == "before sample in step 0"
    back = client.move("stepBack")
    assert back["text"] == "before TopPLogitsWarper in step 0"


def test_frames_without_a_choice_say_so(run: Run) -> None:
    client: RawClient = run("*.layers.4", prompt="one")
    client.stop()
    prompt = client.frames()[-1]
    with pytest.raises(Refused, match="no choice of a token is known in this frame"):
        client.ask("llm/sampling", frameId=prompt["id"])


def test_a_run_that_has_become_nan_is_looked_at_and_gone_back_in(run: Run) -> None:
    client = run("step", prompt=PROMPTS[0], generation={"do_sample": True, "max_new_tokens": 2})
    client.stop()
    client.evaluate("kept = model.model.layers[1].mlp.down_proj.weight.data[0].clone()")
    client.evaluate("model.model.layers[1].mlp.down_proj.weight.data[0] = float('nan')")
    try:
        client.break_at("*.layers.3.self_attn")
        assert client.move("continue")["text"] == "before model.layers.3.self_attn in step 0"
        frames = {frame["name"]: frame for frame in client.frames()}
        assert "NaN" in client.scope("Output", frames["model.layers.2 (done)"])["output"]["value"]
        assert "error" not in client.scope("Attention", frames["model.layers.3.self_attn (before)"])
        for name in ("model.layers.3.self_attn (before)", "step 0 (prefill)"):
            with pytest.raises(Refused, match="no token can be drawn for sequence 1: the scores have 2538 NaN and 0"):
                client.ask("llm/sampling", frameId=frames[name]["id"])
        with pytest.raises(Refused, match="no token can be drawn"):
            client.scope("Sampling", frames["step 0 (prefill)"])
        assert client.move("stepBack")["text"] == "before model.layers.3.input_layernorm in step 0"
    finally:
        client.evaluate("model.model.layers[1].mlp.down_proj.weight.data[0] = kept")


def test_after_a_weight_is_written_all_looks_agree(run: Run) -> None:
    client = run("*.layers.3", prompt=PROMPTS[0])
    client.stop()

    def logits() -> list[float]:
        frame = client.frames(levels=1)[0]["id"]
        sampling, lens = (client.ask(f"llm/{name}", frameId=frame) for name in ("sampling", "lens"))
        return [sampling["stages"][0]["top"][0]["score"], lens["columns"][0]["cells"][-1]["top"][0]["logit"]]

    def weight_of_the_norm() -> str:
        row = client.ask("evaluate", expression="model.model.norm.weight", context="watch")
        return str(row["memoryReference"])

    before, weight = logits(), weight_of_the_norm()
    kept = client.ask("readMemory", memoryReference=weight, count=400)["data"]
    try:
        client.ask("writeMemory", memoryReference=weight, data=base64.b64encode(bytes(400)).decode())
        client.stop()  # it is an edit, and the run stands where it stood
        changed = logits()
        assert changed[0] == changed[1] != before[0]
    finally:
        client.ask("writeMemory", memoryReference=weight_of_the_norm(), data=kept)
        client.stop()
    assert logits() == before
    client.evaluate("model.model.norm.weight.data *= 2")
    try:
        assert (changed := logits())[0] == changed[1] != before[0]
    finally:
        client.evaluate("model.model.norm.weight.data /= 2")
    assert logits() == before
