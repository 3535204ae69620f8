"""How much each token bears on the next one, against finite differences in float64 and plain autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, BertConfig

from dap_server.engine.analysis.gradients.backward import Objective
from dap_server.engine.analysis.gradients.rows import gradients_scope, saliency_scope
from dap_server.engine.analysis.gradients.saliency import Saliency, saliency
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.engine.inspection.frames import CallStack
from tests.engine.analysis.gradients.test_backward import ARCHITECTURES, EPSILON, Wide, wide
from tests.engine.walk import PROMPTS, Walk, looking
from tests.models.tiny import tiny_model


def scaled(embedding: nn.Module, position: int, by: float, forward: Callable[[], Any]) -> Tensor:
    """Logits (V,) of the last position when one token's embedding is scaled by 1 + `by`."""

    def change(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        factor = torch.ones(output.shape[1], dtype=output.dtype)
        factor[position] += by
        return output * factor[None, :, None]

    handle = embedding.register_forward_hook(change)
    try:
        logits: Tensor = forward().logits[0, -1]
        return logits
    finally:
        handle.remove()


@pytest.mark.parametrize("step", [0, 3], ids=["prefill", "recomputed"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_score_is_the_slope_when_the_token_fades(name: str, step: int) -> None:
    """Gradient times input is the derivative of the logit by a factor of the embedding."""
    model = wide(name)
    found: list[Saliency] = []
    texts: list[Tensor] = []
    encoded: list[Any] = []

    def look(walk: Walk, stop: Stop) -> None:
        generation: Any = stop.generation
        texts.append(generation.input_ids)
        if model.config.is_encoder_decoder:
            encoded.append(generation.tape.model_kwargs["encoder_outputs"])
        found.append(saliency(walk.anatomy, generation, step, 1, Objective(token=7)))

    with Wide(), torch.no_grad():
        looking(model, "sample", step, look)
        ids = texts[0][1:]
        given: dict[str, Any] = {"input_ids": ids}
        if encoded:
            given = {"decoder_input_ids": ids, "encoder_outputs": (encoded[0].last_hidden_state[1:],)}
        tokens = [token for token in found[0].tokens if not token.is_encoded]
        embedding = (model.get_decoder() if encoded else model).get_input_embeddings()
        assert found[0].is_recomputed == (step > 0 or bool(encoded))
        assert [token.id for token in tokens] == ids[0].tolist()
        for token in tokens:
            up, down = (
                scaled(embedding, token.position, sign * EPSILON, lambda: model(**given, use_cache=False))[7]
                for sign in (1, -1)
            )
            assert token.score == pytest.approx(float(up - down) / (2 * EPSILON), rel=1e-5, abs=1e-7)
        assert bool(encoded) == any(token.is_encoded for token in found[0].tokens)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_tokens_that_an_encoder_read_have_scores_too(name: str) -> None:
    model = wide(name)
    found: list[Saliency] = []
    texts: list[Tensor] = []

    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.input_ids is not None
        texts.append(stop.generation.input_ids)
        found.append(saliency(walk.anatomy, stop.generation, 2, 1, Objective(token=7)))

    with Wide(), torch.no_grad():
        looking(model, "sample", 2, look)
        given = {"input_ids": PROMPTS[1:], "decoder_input_ids": texts[0][1:], "use_cache": False}
        tokens = [token for token in found[0].tokens if token.is_encoded]
        assert [token.id for token in tokens] == PROMPTS[1].tolist()
        embedding = model.get_encoder().get_input_embeddings()
        assert embedding is not model.get_decoder().get_input_embeddings()
        for token in tokens:
            up, down = (
                scaled(embedding, token.position, sign * EPSILON, lambda: model(**given))[7] for sign in (1, -1)
            )
            assert token.score == pytest.approx(float(up - down) / (2 * EPSILON), rel=1e-5, abs=1e-7)


def test_padding_has_no_saliency_and_keeps_the_positions(atlas: Loaded) -> None:
    inputs = atlas.tokenizer(["The capital of France is", "one two"], return_tensors="pt", padding=True)
    padded = int((inputs["attention_mask"][1] == 0).sum())

    def decide(stop: Stop) -> Motion:
        step = stop.place.step
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, 1)[0]
        scope = saliency_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows = scope.children.indexed_rows(0, 100)
        assert len(rows) == inputs["input_ids"].shape[1] + step
        assert [row.name for row in rows] == [f"[{i}]" for i in range(len(rows))]
        assert [row.value == "padding" for row in rows] == [i < padded for i in range(len(rows))]
        how = scope.children.named_rows()[1].value
        assert ("recomputed" in how) == (step > 0)
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    tokens = walk.generate(**inputs, max_new_tokens=3, disable_compile=True)
    assert len(walk.stops) == 3
    assert torch.equal(tokens, atlas.model.generate(**inputs, max_new_tokens=3, disable_compile=True))


def test_scores_are_those_of_plain_autograd(atlas: Loaded) -> None:
    inputs = atlas.tokenizer("The capital of France is", return_tensors="pt")
    paris = atlas.tokenizer.encode(" Paris")[-1]
    vectors = atlas.model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(atlas.model(inputs_embeds=vectors).logits[0, -1, paris], vectors)

    def decide(stop: Stop) -> Motion:
        found = saliency(walk.anatomy, stop.generation, 0, 0, Objective(token=paris))
        assert [t.score for t in found.tokens] == pytest.approx((gradient * vectors)[0].sum(-1).tolist(), abs=1e-4)
        assert [t.norm for t in found.tokens] == pytest.approx(gradient[0].norm(dim=-1).tolist(), rel=1e-4)
        country = max(found.tokens[1:], key=lambda token: abs(token.score))
        assert walk.vocabulary.text(country.id or 0) == " France"
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    walk.generate(**inputs, max_new_tokens=1, disable_compile=True)
    assert walk.stops


def test_a_bare_forward_has_saliency_for_any_position() -> None:
    """Of a masked language model: the logit of a token at a position in the middle."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    model = AutoModelForMaskedLM.from_config(config).eval()
    ids = torch.randint(3, 96, (2, 7))
    vectors = model.get_input_embeddings()(ids).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs_embeds=vectors).logits[1, 3, 9], vectors)
    expected = (gradient * vectors)[1].sum(-1).tolist()
    found: list[Saliency] = []

    def decide(stop: Stop) -> Motion:
        found.append(saliency(walk.anatomy, stop.generation, 0, 1, Objective(token=9, position=3)))
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, ["*.layer.1"])
    generation = Generation(input_ids=ids, prompt_length=7)
    walk.stepper.begin(generation)
    with torch.inference_mode():
        call = WholeCall(
            walk.stepper, generation, torch.device("cpu"), lambda: model(input_ids=ids).logits, lambda _: None
        )
        call.run()
    walk.stepper.end()
    walk.stepper.release()
    assert [token.id for token in found[0].tokens] == ids[1].tolist()
    assert [token.score for token in found[0].tokens] == pytest.approx(expected, abs=1e-5)


def test_of_a_classifier_it_is_the_label() -> None:
    torch.manual_seed(0)
    labels = {0: "sad", 1: "glad"}
    config = BertConfig(
        vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, id2label=labels
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.randint(3, 96, (1, 7))
    logits = model(input_ids=ids).logits[0].detach()
    shown: list[str] = []

    def decide(stop: Stop) -> Motion:
        frames = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
        step = next(frame for frame in frames if frame.kind == "step")
        for scope in (
            gradients_scope(frames[0], walk.anatomy, walk.vocabulary),
            saliency_scope(step, walk.anatomy, walk.vocabulary),
        ):
            assert scope is not None
            shown.append(scope.children.named_rows()[0].value)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, ["*.layer.1"])
    generation = Generation(input_ids=ids, prompt_length=7, is_forward=True)
    walk.stepper.begin(generation)
    WholeCall(walk.stepper, generation, torch.device("cpu"), lambda: model(input_ids=ids)).run()
    walk.stepper.end()
    walk.stepper.release()
    best = int(logits.argmax())
    assert set(shown) == {f"logit {float(logits.max()):.6g} of {labels[best]!r} (id {best}, the likeliest)"}


def test_the_scope_says_why_there_is_none() -> None:
    model = tiny_model("llama")

    def look(walk: Walk, stop: Stop) -> None:
        model.get_input_embeddings = lambda: None
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)[0]
        scope = saliency_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        assert "does not tell which module embeds its tokens" in scope.children.named_rows()[1].value
        del model.get_input_embeddings

    looking(model, "sample", 0, look)
