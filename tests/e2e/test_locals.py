"""Local names of modeling files over the wire: opened, and hovered over while the frame is focused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Refused

PROMPT = "The capital of France is"


def test_after_a_layer_its_locals_come_from_a_replay(run: Run, plain: Plain) -> None:
    client = run("after:*.layers.2", prompt=PROMPT)
    client.stop()
    module, forward = client.frames(levels=2)
    assert forward["name"] == "LlamaDecoderLayer.forward"
    line = Path(forward["source"]["path"]).read_text().splitlines()[forward["line"] - 1]
    assert line.strip() == "return hidden_states"
    scope = client.scopes(forward)["Locals"]
    assert scope["expensive"]
    rows = client.open(scope)
    assert rows["by replay"]["value"] == f"as they were when forward returned, at line {forward['line']}"
    expected = plain.output_of("model.layers.2", PROMPT)
    shown = client.open(client.open(rows["hidden_states"])["[0]"])["[5]"]
    assert float(np.float32(client.open(shown)["[0]"]["value"])) == expected[0, 5, 0].item()
    for frame in (module, forward):
        assert client.evaluate("hidden_states.shape", "hover", frameId=frame["id"]) == "torch.Size([1, 6, 192])"
    past = next(frame for frame in client.frames() if frame["name"] == "model.layers.1 (done)")
    between = plain.output_of("model.layers.1.self_attn", PROMPT) + plain.output_of("model.layers.0", PROMPT)
    assert module["source"]["path"] == past["source"]["path"] != forward["source"]["path"]
    residual = client.open(client.open(client.scope("Locals", past)["residual"])["[0]"])["[5]"]
    assert float(client.open(residual)["[7]"]["value"]) == pytest.approx(between[0, 5, 7].item(), abs=1e-5)


def test_hovering_over_a_modeling_file(run: Run) -> None:
    client = run("*.layers.2.self_attn.o_proj", prompt=PROMPT)
    client.stop()
    attention = next(frame for frame in client.frames() if frame["name"] == "LlamaAttention.forward")

    def hover(text: str) -> str:
        return client.evaluate(text, "hover", frameId=attention["id"])

    assert hover("self.config.hidden_size") == "192"
    assert hover("query_states").startswith("float32 [1, 6, 6, 32] cpu")
    assert hover("query_states.shape[1]") == "6"
    assert hover("input_shape") == repr(torch.Size([1, 6]))
    assert hover("eager_attention_forward").startswith("function transformers.models.llama.modeling_llama.eager_")
    assert hover("LlamaMLP").startswith("<class 'transformers.models.llama.modeling_llama.LlamaMLP'>")
    assert hover("model.layers.3.mlp").startswith("LlamaMLP · ")
    for text in ("", "attention_interface(self)", "nothing_like_it", "self.nothing", "query_states.sum()"):
        with pytest.raises(Refused) as refused:
            hover(text)
        assert refused.value.id == 30


def test_a_hover_behind_a_forward_runs_it_again(run: Run) -> None:
    client = run("after:*.layers.2.self_attn", prompt=PROMPT)
    client.stop()
    forward = client.frames(levels=2)[1]["id"]
    assert client.evaluate("attn_output.shape", "hover", frameId=forward) == "torch.Size([1, 6, 192])"
    assert client.evaluate("query_states.shape", "watch", frameId=forward) == "torch.Size([1, 6, 6, 32])"
    assert client.evaluate("float(key_states.norm()) > 0", frameId=forward) == "True"
