"""A mixture of experts over the wire: what a plain run's router chooses."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.e2e.conftest import Spawn
from tests.e2e.raw_client import values
from tests.models.tiny import tiny_model, tiny_tokenizer


def test_the_experts_of_every_token(tmp_path: Path, spawn: Spawn) -> None:
    model, tokenizer = tiny_model("mixtral"), tiny_tokenizer()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    prompt = "a b c d e"
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = [layer.double() for layer in model(ids, output_router_logits=True).router_logits]

    client = spawn()
    client.response(client.begin(["*.layers.1.mlp"], model=str(tmp_path), prompt=prompt))
    client.stop()
    frames = {frame["name"]: frame for frame in client.frames()}
    for layer, frame in ((1, "model.layers.1.mlp (before)"), (0, "model.layers.0 (done)")):
        probs = logits[layer].softmax(-1)
        best = probs.topk(2, dim=-1).indices
        rows = client.scope("Experts", frames[frame])
        shown = values(rows)
        assert shown["router"] == f"model.layers.{layer}.mlp.gate · MixtralTopKRouter"
        assert (shown["experts"], shown["scores"]) == ("4, 2 for each token", "softmax")
        counts = torch.bincount(best.flatten(), minlength=4)
        load = values(client.open(rows["load"]))
        assert [int(line.partition(" ")[0]) for line in load.values()] == counts.tolist()
        assert float(shown["imbalance"]) == float(f"{counts.max() * 4 / counts.sum():.6g}")
        positions = client.open(rows["positions"])
        assert len(positions) == ids.shape[1]
        for at, row in enumerate(positions.values()):
            first = int(best[at, 0])
            assert f"  expert {first} {float(probs[at, first]):.1%} (weight " in row["value"]
            every = values(client.open(row))
            assert {int(name.partition(" ")[2]) for name, line in every.items() if "chosen" in line} == set(
                best[at].tolist()
            )
    whole = client.scope("Experts", frames["MixtralForCausalLM"])
    assert list(whole) == ["model.layers.0.mlp.gate", "model.layers.1.mlp.gate"]
