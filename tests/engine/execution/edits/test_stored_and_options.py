"""Parameters, cache entries and options of sampling: in force from a step on, and as they were where they are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import EncoderDecoderCache

from dap_server.engine.execution.edits.edit import Option, StoredValue
from dap_server.engine.execution.edits.selection import Selection
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.stops import Interruption
from tests.engine.execution.capturing import CaptureProbe
from tests.engine.execution.edits.sessions import Session, edit, go_on, plain, same_run
from tests.engine.execution.straight import same, state_of
from tests.models.tiny import tiny_model

SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.3}
GREEDY: dict[str, Any] = {"do_sample": False}
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


class FromStep(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Does something once, when a step's token is about to be chosen."""

    def __init__(self, step: int, act: Any) -> None:
        self._steps, self._step, self._act = 0, step, act

    def __call__(self, _ids: Tensor, scores: Tensor) -> Tensor:
        self._steps += 1
        if self._steps == self._step:
            self._act()
        return scores


@pytest.mark.parametrize("name", [NORM, "model.rotary_emb.inv_freq"])
def test_a_parameter_is_another_from_a_step_on_and_as_it_was_in_earlier_ones(llama: Any, name: str) -> None:
    path, _, attribute = name.rpartition(".")
    held = getattr(llama.get_submodule(path), attribute)
    own = held.detach().clone()
    seen: list[Tensor] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(StoredValue("parameter", name), "scale", 3, number=4.0))

    def look(session: Session, stop: Stop) -> Motion:
        assert torch.equal(held, own * 4.0)
        for step in (5, 2, 3):
            probe = CaptureProbe({("model.norm", 0)})
            stop.generation.tape.replay(step, probe)  # type: ignore[union-attr]
            seen.append(probe.found["model.norm", 0].output)
        assert torch.equal(held, own * 4.0)
        return Motion.RUN

    result = Session(llama, [change, go_on, look]).run(**SAMPLED)
    assert torch.equal(held, own)

    live: list[Tensor] = []
    handle = llama.model.norm.register_forward_hook(lambda _m, _a, out: live.append(out.clone()))
    multiply = LogitsProcessorList([FromStep(3, lambda: held.data.mul_(4.0))])
    expected = plain(llama, logits_processor=multiply, **SAMPLED)
    handle.remove()
    held.data.copy_(own)
    assert same_run(result, expected)
    assert same(seen, [live[5], live[2], live[3]])


@pytest.mark.parametrize("how", ["undone", "restarted", "raised", "released"])
def test_weights_have_their_own_bytes_again(llama: Any, how: str) -> None:
    own = {name: value.detach().clone() for name, value in llama.state_dict().items()}

    def change(session: Session, stop: Stop) -> None:
        first = edit(StoredValue("parameter", NORM), "noise", 1, number=1.0)
        second = edit(StoredValue("parameter", "lm_head.weight", Selection(index=(3, slice(0, 4)))), "zero", 1)
        session.edit(stop, first, second)

    def end(session: Session, stop: Stop) -> Motion | None:
        assert not torch.equal(llama.model.norm.weight, own[NORM])
        if how == "undone":
            session.put(stop, stop.generation.edits.without(2).without(1))
            return None
        if how == "restarted":
            session.stepper.interrupt(Interruption())
            return None
        if how == "released":
            session.stepper.release()
            return None
        handles.append(llama.model.layers[1].register_forward_hook(fail))
        return Motion.RUN

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    def check(_session: Session, _stop: Stop) -> Motion:
        assert same(dict(llama.state_dict()), own)
        return Motion.RUN

    handles: list[Any] = []
    session = Session(llama, [go_on, change, end, check], "model.layers.0")
    try:
        session.run(**GREEDY)
    except (Interruption, ZeroDivisionError):
        assert how in ("restarted", "raised")
    for handle in handles:
        handle.remove()
    assert same(dict(llama.state_dict()), own)


CACHES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "append-only": ("llama", "1.keys", {}),
    "static": ("llama", "1.values", {"cache_implementation": "static"}),
    "sliding": ("gemma2", "0.keys", {}),
    "hybrid": ("falcon_h1", "0.keys", {}),
    "of a decoder": ("bart", "0.values", {}),
    "of an encoder": ("bart", "0.cross_keys", {}),
}


@pytest.mark.parametrize(("name", "entry", "options"), CACHES.values(), ids=CACHES)
def test_an_entry_of_the_cache_is_another_from_a_step_on(name: str, entry: str, options: dict[str, Any]) -> None:
    model, options = tiny_model(name), {**SAMPLED, **options}
    seen: list[Any] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(StoredValue("cache", entry, Selection(positions=(1,))), "set", 2, number=0.5))

    def look_and_undo(session: Session, stop: Stop) -> None:
        tape: Any = stop.generation.tape
        seen.extend(logits.clone() for logits in tape.collected.logits)
        before = state_of(tape.cache)
        seen.extend(tape.replay(step).logits for step in (1, 2, 5))
        assert same(state_of(tape.cache), before)
        assert not stop.generation.branches.outcomes.problems
        session.put(stop, stop.generation.edits.without(1))

    undone = Session(model, [change, go_on, look_and_undo]).run(**options)
    expected = list(written_by_hand(model, entry, 2, **options).logits)
    assert same(seen, [*expected, expected[1], expected[2], expected[5]])
    assert same_run(undone, plain(model, **options))
    assert not same(expected, list(undone.logits))


def written_by_hand(model: Any, entry: str, step: int, **options: Any) -> Any:
    """`generate` in which position 1 of an entry is 0.5 from a step on: a processor writes it in the step before."""
    caches: list[Any] = []
    number, name = entry.split(".")

    def write() -> None:
        cache = caches[-1]
        if isinstance(cache, EncoderDecoderCache):
            cache = cache.cross_attention_cache if name.startswith("cross_") else cache.self_attention_cache
        getattr(cache.layers[int(number)], name.removeprefix("cross_"))[:, :, 1] = 0.5

    handle = model.register_forward_pre_hook(
        lambda _model, _args, kwargs: caches.append(kwargs["past_key_values"]), with_kwargs=True
    )
    try:
        return plain(model, logits_processor=LogitsProcessorList([FromStep(step, write)]), **options)
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"do_sample": True, "temperature": 1.3, "top_k": 20}, {"temperature": 0.7}),
        ({"do_sample": True, "temperature": 1.3}, {"top_p": 0.6, "repetition_penalty": 1.4}),
        ({"do_sample": True, "top_k": 5, "top_p": 0.9}, {"top_k": 0, "min_p": 0.05}),
        ({"do_sample": False}, {"do_sample": 1, "temperature": 2.0}),
        ({"do_sample": True, "top_k": 20}, {"do_sample": 0}),
    ],
)
def test_options_are_those_that_generate_would_have_been_given(
    llama: Any, options: dict[str, Any], changes: dict[str, float]
) -> None:
    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, *(edit(Option(name), "set", number=number) for name, number in changes.items()))

    kinds = {"top_k": int, "do_sample": bool}
    other = {**options, **{name: kinds.get(name, float)(number) for name, number in changes.items()}}
    session = Session(llama, [change], "step")
    assert same_run(session.run(**options), plain(llama, **other))
    assert not [p for p in [session.finished_with] if p is not None and p.branches.outcomes.problems]


def test_an_option_that_makes_no_processor_is_refused(llama: Any) -> None:
    told: list[str] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(Option("max_length"), "set", number=3), edit(Option("top_k"), "set", number=2.5))

    def look(_session: Session, stop: Stop) -> Motion:
        told.extend(stop.generation.branches.outcomes.problems.values())
        return Motion.RUN

    assert same_run(Session(llama, [change, look], "step").run(**SAMPLED), plain(llama, **SAMPLED))
    assert told[0].startswith("'max_length' cannot be changed while a run goes on")
    assert told[1] == "'top_k' is a whole number, not 2.5"
