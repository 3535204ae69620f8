"""Calls of models in a program: several models, several threads, calls within calls, and what is left behind."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import TextIteratorStreamer
from transformers.generation.utils import GenerationMixin

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.calls import turns
from dap_server.engine.execution.stepping import Motion
from dap_server.engine.execution.travel import Destination, Traveller
from dap_server.modelmap.places import Place
from tests.engine.program.run import Attached, Program, attached, debugged
from tests.engine.walk import GREEDY, PROMPTS
from tests.models.tiny import tiny_model

MLP = "model.layers.0.mlp"


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Whatever a test does: after it the process is as it was."""
    before = nn.Module.__call__, GenerationMixin.generate, GenerationMixin._sample
    yield
    assert before == (nn.Module.__call__, GenerationMixin.generate, GenerationMixin._sample)
    hooks = torch.nn.modules.module
    assert not hooks._global_forward_pre_hooks
    assert not hooks._global_forward_hooks


def test_two_models_in_turn_each_stop_at_their_own_places() -> None:
    first, second = tiny_model("llama"), tiny_model("gpt2", seed=1)

    def program() -> list[Tensor]:
        with torch.no_grad():
            made = [model.generate(PROMPTS, max_new_tokens=1) for model in (first, second, first)]
            return [*made, second(PROMPTS).logits]

    alone = program()
    with attached(MLP, "transformer.h.1") as debugger:
        running = Program(program, debugger.ended)
        stopped = []
        for _ in range(4):
            stopped.append((debugger.next_stop().place.path, type(debugger.now.loaded.model).__name__))
            debugger.go()
        assert debugger.run_to_end() == []
    llama, gpt2 = (MLP, "LlamaForCausalLM"), ("transformer.h.1", "GPT2LMHeadModel")
    assert stopped == [llama, gpt2, llama, gpt2]
    assert all(map(torch.equal, running.result(), alone))


def test_a_breakpoint_is_in_force_when_one_of_the_models_has_its_place() -> None:
    with attached("transformer.h.1", "nowhere") as debugger:
        told = debugger.models.set_breakpoints(debugger.wanted)
        assert [(one.is_verified, one.is_pending) for one in told] == [(False, True), (False, True)]
        Program(lambda: tiny_model("llama")(PROMPTS)).result()
        assert [one.is_verified for one in debugger.changed] == [False, False]
        program = Program(lambda: tiny_model("gpt2")(PROMPTS), debugger.ended)
        debugger.next_stop()
        assert [one.id for one in debugger.changed if one.is_verified] == [1]
        debugger.go()
        program.result()


def test_a_thread_waits_while_another_is_stopped_and_both_are_right() -> None:
    model = tiny_model("llama")
    alone = model.generate(PROMPTS, **GREEDY)
    begins = threading.Event()

    def second() -> Tensor:
        begins.set()
        tokens: Tensor = model.generate(PROMPTS, **GREEDY)
        return tokens

    with attached(MLP) as debugger:
        one = Program(lambda: model.generate(PROMPTS, **GREEDY), debugger.ended)
        stop = debugger.next_stop()
        other = Program(second, debugger.ended)
        begins.wait()
        debugger.look(lambda: Traveller(debugger.now.stepper, stop).trace(0))
        assert debugger.stop is stop
        debugger.models.set_breakpoints([])
        debugger.go()
        assert debugger.run_to_end() == debugger.run_to_end() == []
    assert torch.equal(one.result(), alone)
    assert torch.equal(other.result(), alone)


def test_a_call_in_flight_when_an_editor_comes_and_one_that_is_stopped_when_it_goes() -> None:
    model = tiny_model("llama")
    alone = model.generate(PROMPTS, **GREEDY)
    runs, goes_on = threading.Event(), threading.Event()

    def hold(_ids: Tensor, scores: Tensor) -> Tensor:
        runs.set()
        assert goes_on.wait(60)
        return scores

    program = Program(lambda: model.generate(PROMPTS, logits_processor=[hold], **GREEDY))
    runs.wait()
    with attached(MLP) as debugger:
        goes_on.set()
        assert torch.equal(program.result(), alone), "it went on as it had begun"
        program = Program(lambda: model.generate(PROMPTS, **GREEDY), debugger.ended)
        debugger.next_stop()
    assert torch.equal(program.result(), alone), "the editor has gone: it runs to its end"
    with attached(MLP) as debugger:
        program = Program(lambda: model.generate(PROMPTS, **GREEDY), debugger.ended)
        assert debugger.at() == f"function breakpoint: before {MLP} in step 0", "the next editor finds it anew"
    assert torch.equal(program.result(), alone)


def test_an_assistant_in_a_call_runs_plain() -> None:
    model, assistant = tiny_model("llama"), tiny_model("llama", seed=3)
    alone = model.generate(PROMPTS[:1], assistant_model=assistant, **GREEDY)
    made, stops = debugged(lambda: model.generate(PROMPTS[:1], assistant_model=assistant, **GREEDY), "after:model.norm")
    assert torch.equal(made, alone)
    assert len(stops) >= 1


def test_an_exception_of_a_call_is_the_programs() -> None:
    model = tiny_model("llama")

    def program() -> str:
        try:
            model(torch.full((1, 3), 10**6))
        except IndexError as error:
            return str(error)
        return ""

    alone = program()
    assert debugged(program, MLP) == (alone, [])
    assert debugged(lambda: model(PROMPTS).logits, "lm_head")[1] == ["function breakpoint: before lm_head in step 0"]


def test_a_streamer_is_given_its_tokens_once(atlas: Loaded) -> None:
    inputs = atlas.tokenizer("The capital of France is", return_tensors="pt")

    def program() -> str:
        streamer = TextIteratorStreamer(atlas.tokenizer, skip_prompt=True)
        arguments = {**inputs, **GREEDY, "streamer": streamer}
        writer = threading.Thread(target=atlas.model.generate, kwargs=arguments)
        writer.start()
        text = "".join(streamer)
        writer.join()
        return text

    alone = program()
    with attached("model.layers.2") as debugger:
        running = Program(program, debugger.ended)
        debugger.next_stop()
        debugger.go()
        stop = debugger.next_stop()
        debugger.go(debugger.look(Traveller(debugger.now.stepper, stop).last_hit))
        debugger.next_stop()
        debugger.models.set_breakpoints([])
        debugger.go()
        assert running.result() == alone
        assert debugger.now.vocabulary.tokenizer is atlas.tokenizer


def test_a_step_that_leaves_a_call_ends_in_the_next_one() -> None:
    model = tiny_model("llama")

    def program() -> None:
        for _ in range(2):
            model(PROMPTS)

    stops = debugged(program, "lm_head", decide=[Motion.OUT, Motion.NEXT, Motion.RUN])[1]
    assert stops[0] == "function breakpoint: before lm_head in step 0"
    assert stops[1] == "step: after the model in step 0"
    assert stops[2] == "step: before the model in step 0", "of the second call"


def test_a_pause_between_calls_stops_the_next_one() -> None:
    model = tiny_model("llama")
    with attached() as debugger:
        debugger.models.pause()
        program = Program(lambda: model.generate(PROMPTS, **GREEDY), debugger.ended)
        assert debugger.at() == "pause: step 0"
        debugger.go()
        assert debugger.run_to_end() == []
        program.result()


def test_a_module_without_weights_and_a_single_layer_are_no_models() -> None:
    layer = nn.Linear(3, 3)

    def program() -> Any:
        return nn.Sequential(nn.ReLU())(layer(torch.ones(2, 3)))

    with attached("*") as debugger:
        assert torch.equal(Program(program, debugger.ended).result(), program())
        assert debugger.models.all == []


def test_what_a_call_has_written_to_is_no_way_back() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            x.mul_(2)
            out: Tensor = self.inner(x)
            return out

    model = Writes()
    with attached("inner.1") as debugger:
        program = Program(lambda: model(torch.ones(2, 4)), debugger.ended)
        stop = debugger.next_stop()
        with pytest.raises(Exception, match="the call has written to argument 1"):
            debugger.look(Traveller(debugger.now.stepper, stop).back)
        debugger.go()
        made = program.result()
    assert torch.equal(made, model(torch.ones(2, 4)))


def test_a_model_with_breakpoints_is_copied_and_saved_as_if_there_were_none(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def program() -> Tensor:
        model(torch.ones(1, 4))
        torch.save(model, tmp_path / "model.pt")
        twin, loaded = copy.deepcopy(model), torch.load(tmp_path / "model.pt", weights_only=False)
        assert "dap_server" not in str((tmp_path / "model.pt").read_bytes())
        return torch.cat([twin(torch.ones(1, 4)), loaded(torch.ones(1, 4))])

    wanted = [Wanted(1, "1.0"), Wanted(2, "after:1.1"), Wanted(3, "nonFinite", "exception")]
    with attached(*wanted) as debugger:
        running = Program(program, debugger.ended)
        stops = debugger.run_to_end()
    assert len(stops) == 6, "the copy and the loaded one are models too"
    assert torch.equal(running.result()[0], model(torch.ones(1, 4))[0])


def test_hits_are_counted_through_all_calls() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def program() -> None:
        for i in range(4):
            model(torch.full((1, 4), float(i)))

    with attached(Wanted(1, "1.0", hit_condition="3")) as debugger:
        running = Program(program, debugger.ended)
        stop = debugger.next_stop()
        assert stop.activations[0].args[0].grad_fn is not None
        assert torch.equal(stop.activations[-1].args[0], torch.full((1, 4), 2.0))
        debugger.go()
        assert debugger.run_to_end() == []
        running.result()


def test_what_is_found_late_in_a_training_forward_stops_where_it_came_about() -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.second(torch.log(self.first(x) * 0 - 1))
            return out

    model = Breaks()
    with attached(Wanted(1, "nonFinite", "exception"), Wanted(2, "forwardError", "exception")) as debugger:
        program = Program(lambda: model(torch.ones(2, 4)).sum().backward(), debugger.ended)
        assert debugger.at() == "exception: after the model in step 0", "which made it of finite values"
        debugger.go()
        program.result()
        assert model.second.bias.grad is not None
        failing = Program(lambda: model(torch.ones(2, 3)), debugger.ended)
        debugger.run_to_end()
        assert debugger.at() == "exception: before first in step 0"
        debugger.go()
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            failing.result()


class Parallel(nn.Module):
    """Calls its parts, and another model, in threads that it waits for."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))
        self.others = [other]

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(3) as pool:
            return torch.stack(list(pool.map(lambda module: module(x), [*self.parts, *self.others])))


def test_a_model_that_waits_for_calls_in_other_threads_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.5)
    other = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    model = Parallel(other)
    alone = model(torch.ones(1, 4))
    with attached("parts.0.1") as debugger:
        program = Program(lambda: model(torch.ones(1, 4)), debugger.ended)
        assert torch.equal(program.result(), alone)
        assert len(debugger.models.all) == 1, "the parts and the other model run on their own"


class Memory:
    """A cache of the program's own, that grows."""

    def __init__(self) -> None:
        self.layers: list[Tensor] = []


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        self.memory.layers.append(x)
        out: Tensor = self.inner(torch.stack(self.memory.layers).sum(0))
        return out


def test_what_a_model_remembers_in_objects_of_its_own_goes_back_with_it() -> None:
    model = Remembers()

    def program() -> list[Tensor]:
        model.memory = Memory()
        return [model(torch.full((1, 4), float(i))) for i in range(3)]

    alone = program()
    with attached("inner.1") as debugger:
        running = Program(program, debugger.ended)
        for _ in range(3):
            stop = debugger.next_stop()
            debugger.go(debugger.look(Traveller(debugger.now.stepper, stop).back))
            debugger.next_stop()
            debugger.go()
            debugger.next_stop()
            debugger.go()
        assert all(map(torch.equal, running.result(), alone))


@pytest.mark.parametrize("place", ["", "lm_head"], ids=["unseen", "with looks and a way back"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("llama", {}), ("llama", {"do_sample": True}), ("llama", {"num_beams": 2}), ("t5", {}), ("t5", {"num_beams": 2})],
    ids=["greedy", "sampled", "beams", "encoder and decoder", "beams of a decoder"],
)
def test_the_cache_of_a_call_is_gone_when_the_call_is_over(kind: str, options: dict[str, Any], place: str) -> None:
    """As it is without us: a program may need that memory for the next one."""
    model, caches = tiny_model(kind), set()

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        caches.add(weakref.ref(output.past_key_values))

    def looked(debugger: Attached) -> str:
        stop = debugger.next_stop()
        tape = stop.generation.tape
        assert tape is not None
        debugger.look(lambda: tape.replay(0))
        place = str(stop.place)
        debugger.go()
        return place

    model.register_forward_hook(note)
    gc.collect()
    gc.disable()
    try:
        with attached(*[place] * bool(place)) as debugger:
            program = Program(lambda: model.generate(PROMPTS, **{**GREEDY, **options}), debugger.ended)
            if place:
                assert [looked(debugger) for _ in range(2)] == [f"before {place} in step {step}" for step in range(2)]
                debugger.next_stop()
                debugger.go(Destination(Place(1, place), "step"))
                assert looked(debugger) == f"before {place} in step 1"
                debugger.run_to_end()
            program.result()
            assert [cache() for cache in caches if cache() is not None] == []
    finally:
        gc.enable()
    assert caches
