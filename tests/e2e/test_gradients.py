"""Gradients and saliency over the wire, against plain autograd on the same model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, Refused, values

PROMPT = "The capital of France is"


def embedded(plain: Plain, ids: Tensor, token: int) -> tuple[list[float], list[float]]:
    """Gradient times input, and norms, of every token of a text (1, T) for the logit that follows it."""
    vectors = plain.model.get_input_embeddings()(ids).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(plain.model(inputs_embeds=vectors).logits[0, -1, token], vectors)
    return (gradient * vectors)[0].sum(-1).tolist(), gradient[0].norm(dim=-1).tolist()


def top(client: Any) -> Json:
    frame: Json = client.frames(levels=1)[0]
    return frame


def test_saliency_is_gradient_times_input_of_plain_autograd(run: Run, plain: Plain) -> None:
    options = {"generation": {"max_new_tokens": 4}}
    expected = plain.generate(PROMPT, max_new_tokens=4)
    client = run("sample", prompt=PROMPT, **options)
    for step in range(2):
        client.stop()
        width = expected.shape[1] - 4 + step
        ids, token = expected[:, :width], int(expected[0, width])
        body = client.ask("llm/saliency", frameId=top(client)["id"])
        scores, norms = embedded(plain, ids, token)
        assert (body["token"], body["recomputed"]) == ({"id": token, "text": plain.tokenizer.decode(token)}, step > 0)
        assert [t["id"] for t in body["tokens"]] == ids[0].tolist()
        assert [t["score"] for t in body["tokens"]] == pytest.approx(scores, abs=2e-4)
        assert [t["norm"] for t in body["tokens"]] == pytest.approx(norms, rel=1e-3)
        rows = values(client.open(client.scopes()["Saliency"]))
        assert rows["[4]"] == f"' France'  {scores[4]:+.4g}  norm {norms[4]:.4g}"
        client.ask("continue", threadId=1)
    client.event("stopped")


def test_gradients_of_a_layer_open_like_tensors(run: Run, plain: Plain) -> None:
    paris = plain.tokenizer.encode(" Paris")[-1]
    held: list[Tensor] = []
    layer = plain.model.model.layers[2]
    handle = layer.register_forward_hook(lambda _m, _a, out: held.append(out[0] if isinstance(out, tuple) else out))
    logits = plain.model(**plain.encode(PROMPT)).logits[0, -1]
    handle.remove()
    weight = layer.self_attn.v_proj.weight
    output, held_weight = torch.autograd.grad(logits[paris], [held[0], weight], retain_graph=True)
    logprob = torch.autograd.grad(logits.log_softmax(-1)[paris], weight)[0]

    client = run("*.layers.2", prompt=PROMPT)
    client.stop()
    rows = client.scope("Gradients")
    assert rows["of"]["value"].endswith(f"of ' Paris' (id {paris}, the likeliest)")
    assert rows["output"]["value"].startswith(f"norm {float(output.norm()):.4g}"[:10])
    last = client.open(client.open(client.open(rows["output"])["[0]"])["[5]"], filter="indexed", count=9)
    assert [float(row["value"]) for row in last.values()] == pytest.approx(output[0, 5, :9].tolist(), abs=1e-5)
    inside = client.open(rows["parameters"])
    assert float(inside["self_attn.v_proj.weight"]["value"].split()[1]) == pytest.approx(
        float(held_weight.norm()), rel=1e-4
    )
    body = client.ask(
        "llm/gradients",
        frameId=top(client)["id"],
        path="model.layers.2.self_attn.v_proj",
        of={"kind": "logprob", "token": " Paris"},
        withRespectTo=["parameters"],
    )
    assert [g["name"] for g in body["gradients"]] == ["model.layers.2.self_attn.v_proj.weight"]
    assert body["gradients"][0]["norm"] == pytest.approx(float(logprob.norm()), rel=1e-3)
    assert body["value"] == pytest.approx(float(logits.detach().log_softmax(-1)[paris]), abs=1e-5)


def test_the_loss_is_shown_per_token(run: Run, plain: Plain) -> None:
    client = run("after:sample", prompt=PROMPT)
    client.stop()
    ids = plain.encode(PROMPT)["input_ids"]
    expected = torch.nn.functional.cross_entropy(plain.model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
    frame = top(client)["id"]
    body = client.ask("llm/gradients", frameId=frame, path="model.layers.0", of={"kind": "loss"})
    assert body["losses"] == pytest.approx(expected.detach().tolist(), abs=1e-4)
    assert (body["value"], body["recomputed"]) == (pytest.approx(float(expected.detach().mean()), abs=1e-4), True)


def test_what_cannot_be_asked_says_why(run: Run) -> None:
    client = run("*.layers.2", prompt=PROMPT)
    client.stop()
    frame = top(client)["id"]
    for arguments, error, text in (
        ({"path": "model.layer.2"}, 2, r"no module 'model.layer.2'.*did you mean"),
        ({"path": "model.layers"}, 2, r"'model.layers' is a list of modules, which is not called itself.*`\$.path`"),
        ({"of": {"token": 100000}}, 53, "there is no token 100000"),
        ({"of": {"token": "two words here"}}, 53, "is no single token"),
    ):
        with pytest.raises(Refused, match=text) as refused:
            client.ask("llm/gradients", frameId=frame, **arguments)
        assert refused.value.id == error


def test_what_is_not_finite_is_left_out(run: Run) -> None:
    client = run("*.layers.2", prompt=PROMPT)
    client.stop()
    frame = top(client)["id"]
    client.evaluate("kept = model.lm_head.weight.data[7].clone()")
    client.evaluate("model.lm_head.weight.data[7] = float('nan')")
    try:
        saliency = client.ask("llm/saliency", frameId=frame, of={"token": 7})
        loss = client.ask("llm/gradients", frameId=frame, of={"kind": "loss"})
    finally:
        client.evaluate("model.lm_head.weight.data[7] = kept")
    assert "value" not in saliency
    assert [token.keys() & {"score", "norm"} for token in saliency["tokens"]] == [set()] * 6
    assert "value" not in loss
    assert loss["losses"] == [None] * 5
    assert client.ask("llm/saliency", frameId=frame, of={"token": 7})["value"] < 100


def test_looks_at_gradients_leave_the_text_as_it_was(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 12, "do_sample": True}
    (text,) = plain.texts(PROMPT, seed=4, **options)
    client = run("*.layers.3.mlp", prompt=PROMPT, seed=4, generation=options)
    for _ in range(3):
        client.stop()
        for frame in client.frames(levels=8):
            for name, scope in client.scopes(frame).items():
                if name in ("Gradients", "Saliency"):
                    for row in client.open(scope).values():
                        if row["name"] == "parameters":
                            client.open(row)
        client.ask("continue", threadId=1)
    client.stop()
    client.break_at()
    client.ask("continue", threadId=1)
    client.event("stopped")
    assert client.output().rstrip("\n") == text
