"""The logit lens, against final norm and head applied by hand in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification

from dap_server.engine.analysis.attribution.direct import attribution
from dap_server.engine.analysis.lens.forwards import capture
from dap_server.engine.analysis.lens.reader import BYTES_PER_LOGIT, Lens, LensReader, Question
from dap_server.engine.analysis.lens.residuals import CannotRead, Stream
from dap_server.engine.analysis.lens.rows import lens_scope, residual_scope
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import memory
from dap_server.engine.execution.generation import Generation, Tape
from dap_server.engine.execution.memory import NotEnoughMemory
from dap_server.engine.execution.stage import Stage
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.engine.inspection.frames import CallStack
from dap_server.protocol.errors import Cancelled
from tests.engine.analysis.padded import PROMPT, TOKENS, Look, looking
from tests.engine.walk import Walk
from tests.models.tiny import BOS, tiny_config, tiny_model

TAILS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "llama": lambda m, h: m.lm_head(m.model.norm(h)),
    "gpt2": lambda m, h: m.lm_head(m.transformer.ln_f(h)),
    "gemma2": lambda m, h: 30 * torch.tanh(m.lm_head(m.model.norm(h)) / 30),
    "granite": lambda m, h: m.lm_head(m.model.norm(h)) / m.config.logits_scaling,
    "cohere": lambda m, h: m.lm_head(m.model.norm(h)) * m.config.logit_scale,
    "opt": lambda m, h: m.lm_head(m.model.decoder.project_out(m.model.decoder.final_layer_norm(h))),
    "t5": lambda m, h: m.lm_head(
        m.decoder.final_layer_norm(h) * (m.config.d_model**-0.5 if m.config.scale_decoder_outputs else 1)
    ),
    "qwen2_moe": lambda m, h: m.lm_head(m.model.norm(h)),
    "mamba": lambda m, h: m.lm_head(m.backbone.norm_f(h)),
    "bart": lambda m, h: m.lm_head(h) + m.final_logits_bias,
}
"""What makes logits of a residual stream, by hand."""

CHANGES: dict[str, dict[str, Any]] = {
    "opt": {"word_embed_proj_dim": 16},
    "granite": {"logits_scaling": 3.0, "residual_multiplier": 0.3},
    "cohere": {"logit_scale": 0.25},
    "gemma2": {"final_logit_softcapping": 30.0},
}


def made(name: str) -> Any:
    """A tiny model whose norms and biases are random."""
    if name in CHANGES:
        config = tiny_config(name)
        for key, value in CHANGES[name].items():
            setattr(config, key, value)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        model.generation_config = tiny_model("llama").generation_config
    else:
        model = tiny_model(name)
    with torch.no_grad():
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def reader(walk: Walk, stop: Stop, sequence: int = 1, stage: Stage | None = None) -> LensReader:
    return LensReader(stop.generation, stop.place.step, sequence, walk.anatomy, stage or walk.stepper.stage)


def at_the_end(model: Any, *questions: Question, sequence: int = 1) -> tuple[Tensor, list[Lens]]:
    """The ids (B, T) before the last token, and what was read there."""
    found: list[Lens] = []

    def look(walk: Walk, stop: Stop) -> None:
        if stop.place.step == TOKENS - 1:
            found.extend(reader(walk, stop, sequence).read(question) for question in questions)

    return looking(model, look)[:, :-1], found


def test_where_a_position_is_and_what_can_be_said_there_take_one_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[int] = []

    def counted(tape: Tape, step: int, anatomy: Anatomy) -> Stream:
        captured.append(step)
        return capture(tape, step, anatomy)

    def look(walk: Walk, stop: Stop) -> None:
        mine, step, last = reader(walk, stop), stop.place.step, len(PROMPT[0]) - 1
        assert mine.locate(None) == (step, last if step == 0 else 0, last + step)
        assert mine.width == 96

    monkeypatch.setattr("dap_server.engine.analysis.lens.reader.capture", counted)
    monkeypatch.setattr("dap_server.engine.analysis.lens.reader.speak", lambda *_: pytest.fail("nothing is to be said"))
    looking(made("llama"), look)
    assert captured == list(range(TOKENS))


@torch.no_grad()
def hidden_by_hand(model: Any, ids: Tensor) -> tuple[Tensor, ...]:
    """L + 1 of (B, T, D) in float64, from one forward of the plain model; the last one is behind the norm."""
    if model.config.is_encoder_decoder:
        prompt = torch.tensor(PROMPT)
        output = model(prompt, attention_mask=(prompt != 0).long(), decoder_input_ids=ids, output_hidden_states=True)
        hidden: tuple[Tensor, ...] = output.decoder_hidden_states
        return hidden
    mask = (ids != 0).long()
    if model.config.model_type == "mamba":  # it has no positions, and leaves the embedding out
        hidden = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        return model.backbone.embeddings(ids), *hidden
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    return tuple(model(ids, attention_mask=mask, position_ids=positions, output_hidden_states=True).hidden_states)


@pytest.mark.parametrize("name", TAILS)
def test_each_layer_says_what_norm_and_head_make_of_its_residual_stream(name: str) -> None:
    model = made(name)
    every = range(96)
    ids, found = at_the_end(
        model,
        Question(positions=[-3, -2, -1], watch=every),
        Question(positions=[-3, -2, -1], watch=every, exact=True),
        sequence=0,
    )
    double = copy.deepcopy(model).double()
    double.set_experts_implementation("eager")
    hidden = hidden_by_hand(double, ids)
    at_once, exact = found
    assert [c.is_recomputed for c in at_once.columns] == [True, True, False]
    assert [c.is_recomputed for c in exact.columns] == [False, False, False]
    assert [c.position for c in exact.columns] == [ids.shape[1] - 3, ids.shape[1] - 2, ids.shape[1] - 1]
    for table in found:
        for position, column in zip((-3, -2, -1), table.columns, strict=True):
            for state, said in zip(hidden[:-1], column.said, strict=False):
                with torch.no_grad():
                    by_hand = TAILS[name](double, state[0, position]).flatten()
                probs = torch.softmax(by_hand, -1)
                assert torch.allclose(torch.tensor([w.logit for w in said.watched]).double(), by_hand, atol=1e-4)
                assert torch.allclose(torch.tensor([w.probability for w in said.watched]).double(), probs, atol=1e-4)
                assert said.top[0].id == int(by_hand.argmax())
                assert [w.rank for w in said.watched if w.id == said.top[3].id] == [4]
    recomputed, stepped = (
        torch.tensor([[[w.logit for w in s.watched] for s in c.said] for c in table.columns]) for table in found
    )
    assert torch.equal(recomputed[-1], stepped[-1])
    assert torch.allclose(recomputed, stepped, atol=1e-5)


@pytest.mark.parametrize("name", TAILS)
def test_the_last_layer_says_bit_for_bit_what_the_step_says(name: str) -> None:
    seen: list[int] = []

    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.selection is not None
        for sequence in (0, 1):
            found = reader(walk, stop, sequence).read(Question(watch=range(96)))
            (column,) = found.columns
            assert found.paths == ["", *walk.anatomy.layer_paths[-2:]]
            logits = torch.tensor([w.logit for w in column.said[-1].watched])
            assert torch.equal(logits, stop.generation.selection.logits[sequence])
            assert not column.is_recomputed
            seen.append(sequence)

    looking(made(name), look)
    assert len(seen) == 2 * TOKENS


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "granite"])
def test_norm_update_and_cosine_are_those_of_the_residual_stream_in_float64(name: str) -> None:
    model = made(name)
    ids, (found,) = at_the_end(model, Question(positions=[-2, -1], exact=True))
    double = copy.deepcopy(model).double()
    layers = double.get_decoder().layers if hasattr(double.get_decoder(), "layers") else None
    stack = layers or (double.transformer.h if name == "gpt2" else double.decoder.block)
    final: list[Tensor] = []
    handle = stack[-1].register_forward_hook(
        lambda _m, _a, out: final.append(out[0] if isinstance(out, tuple) else out)
    )
    states = [*hidden_by_hand(double, ids)[:-1]]
    handle.remove()
    states.append(final[0])  # before the norm
    for position, column in zip((-2, -1), found.columns, strict=True):
        rows = [state[1, position] for state in states]
        for k, said in enumerate(column.said):
            assert said.norm == pytest.approx(float(rows[k].norm()), rel=1e-5)
            assert said.update == pytest.approx(float((rows[k] - rows[max(k - 1, 0)]).norm()), rel=1e-5)
            assert said.cosine == pytest.approx(float(torch.cosine_similarity(rows[k], rows[-1], 0)), abs=1e-6)


def test_only_the_layers_asked_for_are_read_and_padding_says_nothing() -> None:
    _, (found,) = at_the_end(made("llama"), Question(positions=[0, 3], layers=[-1, 1]), sequence=0)
    assert (found.layers, found.paths) == ([-1, 1], ["", "model.layers.1"])
    assert [(c.is_padding, len(c.said)) for c in found.columns] == [(True, 0), (False, 2)]


@pytest.mark.parametrize(
    "question", [Question(positions=[9]), Question(positions=[-10]), Question(layers=[2])], ids=str
)
def test_what_is_not_there_cannot_be_read(question: Question) -> None:
    with pytest.raises(CannotRead, match="there are 0 to"):
        at_the_end(made("llama"), question)


def test_many_positions_are_worked_off_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question(positions=range(2, 9))
    _, (whole,) = at_the_end(made("gpt2"), question)
    monkeypatch.setattr("dap_server.engine.analysis.lens.reader.LOGITS_BYTES", 2 * 96 * BYTES_PER_LOGIT)
    _, (pieces,) = at_the_end(made("gpt2"), question)
    assert [c.position for c in pieces.columns] == list(range(2, 9))
    for one, other in zip(whole.columns, pieces.columns, strict=True):
        assert one.is_recomputed == other.is_recomputed
        for a, b in zip(one.said, other.said, strict=True):
            assert [t.id for t in a.top] == [t.id for t in b.top]
            assert a.top[0].logit == pytest.approx(b.top[0].logit, abs=1e-5)


def test_what_does_not_fit_into_memory_is_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 3000)
    with pytest.raises(NotEnoughMemory, match=r"the (residual stream|logits of 2 positions) would need .* kB"):
        at_the_end(made("llama"), Question(positions=range(2, 9)))


def test_reading_step_by_step_can_be_cancelled() -> None:
    class Impatient(Stage):
        def check_cancelled(self) -> None:
            raise Cancelled

    def look(walk: Walk, stop: Stop) -> None:
        with pytest.raises(Cancelled):
            reader(walk, stop, stage=Impatient()).read(Question(positions=[-2], exact=True))

    looking(made("llama"), look)


def last_logits(here: LensReader, width: int) -> Tensor:
    """(V,) what the last layer says, of everything there is."""
    (column,) = here.read(Question(layers=[5], top=width, watch=())).columns
    logits = torch.empty(width)
    for candidate in column.said[0].top:
        logits[candidate.id] = candidate.logit
    return logits


OPTIONS: dict[str, dict[str, Any]] = {
    "prefill in pieces": {"prefill_chunk_size": 4},
    "static cache": {"cache_implementation": "static"},
    "no cache": {"use_cache": False},
    "sampled, with a processor that calls the model": {"do_sample": True, "guidance_scale": 1.5},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_however_a_text_is_decoded_the_lens_reads_it(atlas: Loaded, options: dict[str, Any]) -> None:
    inputs = atlas.tokenizer(["The capital of France is", "one two"], return_tensors="pt", padding=True)
    width = atlas.model.config.vocab_size

    def decide(stop: Stop) -> Motion:
        selection, ids = stop.generation.selection, stop.generation.input_ids
        assert selection is not None
        assert ids is not None
        for sequence in (0, 1):
            here, beside = reader(walk, stop, sequence), range(ids.shape[1] - 5, ids.shape[1])
            assert torch.equal(last_logits(here, width), selection.logits[sequence])
            at_once = here.read(Question(positions=beside))
            exact = here.read(Question(positions=beside, exact=True))
            for one, other in zip(at_once.columns, exact.columns, strict=True):
                is_early = "prefill_chunk_size" in options and (one.position or 0) < 4
                assert other.is_recomputed == (is_early and not other.is_padding)
                for a, b in zip(one.said, other.said, strict=True):
                    assert a.watched[0].logit == pytest.approx(b.watched[0].logit, abs=1e-4)
            assert stop.generation.tape is not None
            found = attribution(stop.generation.tape, stop.place.step, walk.anatomy, sequence)
            assert found.given == float(selection.logits[sequence].max())
            assert abs(found.remainder) < 1e-4
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    torch.manual_seed(5)
    ids = walk.generate(**inputs, max_new_tokens=3, disable_compile=True, **options)
    torch.manual_seed(5)
    assert torch.equal(ids, atlas.model.generate(**inputs, max_new_tokens=3, disable_compile=True, **options))
    assert walk.stops


def test_beam_search_is_read_where_it_stands(atlas: Loaded) -> None:
    inputs = atlas.tokenizer("The capital of France is", return_tensors="pt")
    options = {"num_beams": 3, "max_new_tokens": 4}
    given: list[Tensor] = []
    handle = atlas.model.register_forward_hook(lambda _m, _a, output: given.append(output.logits[:, -1]))
    expected = atlas.model.generate(**inputs, **options)
    handle.remove()
    width = atlas.model.config.vocab_size

    def decide(stop: Stop) -> Motion:
        step = stop.place.step
        for sequence in (0, 2):
            assert torch.equal(last_logits(reader(walk, stop, sequence), width), given[step][sequence])
            assert stop.generation.tape is not None
            found = attribution(stop.generation.tape, step, walk.anatomy, sequence)
            assert found.given == float(given[step][sequence].max())
        with pytest.raises(CannotRead, match="no position"):
            reader(walk, stop, 0).read(Question(positions=[20]))
        return Motion.RUN

    walk = Walk(atlas, decide, ["*.layers.2"])
    generation = Generation(input_ids=inputs["input_ids"], prompt_length=inputs["input_ids"].shape[1])
    walk.stepper.begin(generation)
    device = torch.device("cpu")
    call = WholeCall(
        walk.stepper, generation, device, lambda: atlas.model.generate(**inputs, **options), lambda _: None
    )
    assert torch.equal(call.run(), expected)
    walk.stepper.end()
    walk.stepper.release()
    assert len(walk.stops) == len(given)


def bare(model: Any, inputs: dict[str, Tensor], look: Look) -> None:
    """Looks from the last layer of a bare forward."""

    def decide(stop: Stop) -> Motion:
        look(walk, stop)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, [Anatomy(model).layer_paths[-1]])
    generation = Generation(input_ids=inputs["input_ids"], prompt_length=inputs["input_ids"].shape[1])
    walk.stepper.begin(generation)
    call = WholeCall(walk.stepper, generation, torch.device("cpu"), lambda: model(**inputs).logits, lambda _: None)
    with torch.no_grad():
        logits = call.run()
        expected = model(**inputs).logits
    walk.stepper.end()
    walk.stepper.release()
    assert walk.stops
    assert torch.equal(logits, expected)


def test_a_masked_model_is_read_at_every_position_of_its_forward() -> None:
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(tiny_config("bert")).eval()
    ids = torch.tensor([[5, 9, 33, 7, 80], [6, 4, 12, 50, 9]])
    with torch.no_grad():
        plain = model(ids, output_hidden_states=True)

    def look(walk: Walk, stop: Stop) -> None:
        found = reader(walk, stop).read(Question(positions=[1, 4], watch=range(96)))
        assert [c.is_recomputed for c in found.columns] == [False, False]
        for column in found.columns:
            for state, said in zip(plain.hidden_states, column.said, strict=True):
                with torch.no_grad():
                    by_hand = model.cls(state)[1, column.position]
                assert torch.allclose(torch.tensor([w.logit for w in said.watched]), by_hand, atol=1e-5)

    bare(model, {"input_ids": ids}, look)


def test_a_classifier_is_read_once_and_says_labels() -> None:
    torch.manual_seed(0)
    config = tiny_config("llama")
    config.num_labels = 3
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.tensor([[5, 9, 33, 7, 80], [6, 4, 12, 50, BOS]])
    with torch.no_grad():
        plain = model(ids, output_hidden_states=True)

    def look(walk: Walk, stop: Stop) -> None:
        found = reader(walk, stop).read(Question(watch=range(3)))
        (column,) = found.columns
        assert (column.position, found.width) == (None, 3)
        logits = torch.tensor([w.logit for w in column.said[-1].watched])
        assert torch.equal(logits, plain.logits[1])
        with torch.no_grad():
            by_hand = model.score(model.model.norm(plain.hidden_states[1]))[1, -1]
        assert torch.allclose(torch.tensor([w.logit for w in column.said[1].watched]), by_hand, atol=1e-5)
        assert stop.generation.tape is not None
        parts = attribution(stop.generation.tape, 0, walk.anatomy, 1, 2)
        assert parts.given == float(plain.logits[1, 2])
        assert abs(parts.remainder) < 1e-4
        assert all(part.children for part in parts.parts if part.kind == "layer")
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, 1)[0]
        scope = lens_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        assert "'LABEL_" in scope.children.named_rows()[-1].value

    bare(model, {"input_ids": ids}, look)


def test_the_answer_rises_through_the_layers_of_the_example_model(atlas: Loaded) -> None:
    def decide(stop: Stop) -> Motion:
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)[0]
        scope = lens_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows = scope.children.named_rows()
        assert "' Paris' rank" in rows[0].value
        ranks = [int(row.value.partition(" rank ")[2].partition(",")[0]) for row in rows]
        assert ranks[0] > 100
        assert ranks[-1] == 1
        assert ranks == sorted(ranks, reverse=True)
        stream = residual_scope(frame, walk.anatomy, walk.vocabulary)
        assert stream is not None
        shown = stream.children.named_rows()
        assert [row.name for row in shown] == ["embedding", *walk.anatomy.layer_paths]
        assert shown[-1].value.endswith("cosine 1.0000")
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    walk.generate(**atlas.tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=1)
    assert walk.stops


def test_the_layers_are_themselves_again_afterwards() -> None:
    model = made("llama")
    kind = type(model.model.layers[0])
    before = kind.__dict__.get("__call__"), kind.forward

    def look(walk: Walk, stop: Stop) -> None:
        reader(walk, stop).read(Question())

    looking(model, look)
    assert (kind.__dict__.get("__call__"), kind.forward) == before
