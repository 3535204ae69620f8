"""A run under the debugger is bit for bit the run without it: tokens, scores, logits, everything that is returned."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.modules.module import _global_forward_pre_hooks
from transformers import DynamicCache, set_seed
from transformers.generation.streamers import BaseStreamer
from transformers.generation.utils import GenerationMixin

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.walk import Walk

PROMPTS = ["The capital of France is", "one two three", "Repeat: red lamp tree moon. Again:"]

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True},
    "temperature, top-k, top-p": {"do_sample": True, "temperature": 1.7, "top_k": 30, "top_p": 0.9},
    "min-p": {"do_sample": True, "temperature": 2.0, "min_p": 0.02},
    "typical and epsilon": {"do_sample": True, "typical_p": 0.9, "epsilon_cutoff": 1e-4},
    "penalties": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "forced lengths": {"min_new_tokens": 7, "forced_eos_token_id": 2},
    "bad words and bias": {"bad_words_ids": [[40]], "sequence_bias": [[[50], 3.0]], "suppress_tokens": [60]},
    "several ends": {"eos_token_id": [2, 5, 10, 20]},
    "stop strings": {"stop_strings": [". The", " four"]},
    "several answers": {"do_sample": True, "num_return_sequences": 3},
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 2},
    "guidance": {"guidance_scale": 1.5},
    "watermark": {"do_sample": True, "watermarking_config": {"bias": 2.5, "seeding_scheme": "lefthash"}},
    "returned tensors": {"return_dict_in_generate": True, "output_scores": True, "output_logits": True},
}


def inputs(loaded: Loaded, prompts: list[str]) -> dict[str, Tensor]:
    return dict(loaded.tokenizer(prompts, return_tensors="pt", padding=True))


def common(loaded: Loaded) -> dict[str, Any]:
    return {"max_new_tokens": 8, "disable_compile": True, "tokenizer": loaded.tokenizer}


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two returned values agree to the last bit, tensors in tuples and outputs included."""
    if isinstance(theirs, Tensor):
        return torch.equal(ours, theirs)
    if hasattr(theirs, "keys"):
        names = [name for name in theirs if name != "past_key_values"]
        return list(ours) == list(theirs) and all(equal(ours[name], theirs[name]) for name in names)
    if isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs)


def step_in_everywhere(_stop: Stop) -> Motion:
    return Motion.IN


@pytest.mark.parametrize("batch", [PROMPTS[:1], PROMPTS], ids=["one prompt", "left-padded batch"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("armed", ["nothing armed", "armed, never hit", "stopped and looked at"])
def test_tokens_and_scores_equal_plain_generate(
    atlas: Loaded, options: dict[str, Any], batch: list[str], armed: str
) -> None:
    asked = {**inputs(atlas, batch), **common(atlas), **options}
    set_seed(7)
    expected = atlas.model.generate(**asked)

    if armed == "nothing armed":
        walk = Walk(atlas)
    elif armed == "armed, never hit":
        walk = Walk(atlas, breakpoints=["EtaLogitsWarper", "after:ExponentialDecayLengthPenalty"])
    else:
        walk = Walk(atlas, decide=lambda stop: look(walk, stop), breakpoints=["*.layers.3", "after:sample"])
    set_seed(7)
    actual = walk.generate(**asked)

    assert equal(actual, expected)
    assert bool(walk.stops) == (armed == "stopped and looked at")
    assert torch.equal(torch.get_rng_state(), after(lambda: atlas.model.generate(**asked)))


def look(walk: Walk, stop: Stop) -> Motion:
    """Looks at every twentieth stop, and goes on by every kind of motion in turn."""
    count = len(walk.stops)
    if count % 20 == 0:
        assert walk.look_at_everything(stop) > 10
    return [Motion.IN, Motion.NEXT, Motion.NEXT, Motion.OUT, Motion.RUN][count % 5]


def after(run: Any) -> Tensor:
    """The random state that a run from the test's seed leaves."""
    set_seed(7)
    run()
    return torch.get_rng_state()


def test_stepping_through_every_module_of_every_step_changes_nothing(atlas: Loaded) -> None:
    asked = {**inputs(atlas, PROMPTS[:1]), **common(atlas), "max_new_tokens": 3, "do_sample": True}
    asked |= {"return_dict_in_generate": True, "output_logits": True, "output_scores": True}
    asked |= {"output_hidden_states": True, "output_attentions": True}
    set_seed(3)
    expected = atlas.model.generate(**asked)

    walk = Walk(atlas, decide=step_in_everywhere)
    walk.stepper.pause()
    set_seed(3)
    actual = walk.generate(**asked)

    assert equal(actual, expected)
    calls = sum(1 for m in atlas.model.modules() if type(m).forward is not torch.nn.Module.forward)
    assert len(walk.stops) > 3 * (calls - 1)


class Recorder(BaseStreamer):  # type: ignore[misc]  # transformers is not typed
    def __init__(self) -> None:
        self.events: list[list[int] | str] = []

    def put(self, value: Tensor) -> None:
        self.events.append(value.flatten().tolist())

    def end(self) -> None:
        self.events.append("end")


def test_a_streamer_hears_what_it_hears_without_a_debugger(atlas: Loaded) -> None:
    asked = {**inputs(atlas, PROMPTS[:1]), **common(atlas)}
    plain, debugged = Recorder(), Recorder()
    atlas.model.generate(**asked, streamer=plain)
    Walk(atlas, breakpoints=["sample"]).generate(**asked, streamer=debugged)
    assert debugged.events == plain.events
    assert debugged.events[-1] == "end"


@pytest.mark.parametrize(
    "options",
    [{"num_beams": 3}, {"num_beams": 2, "do_sample": True}, {"prompt_lookup_num_tokens": 3}, {"assistant": True}],
    ids=["beam search", "beam sampling", "prompt lookup", "assisted"],
)
def test_other_decoding_methods_run_untouched_and_are_stopped_from_outside(
    atlas: Loaded, options: dict[str, Any]
) -> None:
    options = dict(options)
    if options.pop("assistant", False):
        options["assistant_model"] = atlas.model
    asked = {**inputs(atlas, PROMPTS[:1]), **common(atlas), **options}
    asked.pop("tokenizer")
    set_seed(5)
    expected = atlas.model.generate(**asked)

    walk = Walk(atlas, breakpoints=["*.layers.2"])
    set_seed(5)
    actual = walk.generate(**asked)

    assert torch.equal(actual, expected)
    assert walk.stops
    assert walk.heard == []


def test_a_custom_generate_of_the_user_runs_untouched(atlas: Loaded) -> None:
    def always_forty(model: Any, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:
        model(input_ids)
        return torch.cat([input_ids, torch.tensor([[40]])], dim=-1)

    asked = {**inputs(atlas, PROMPTS[:1]), "custom_generate": always_forty}
    walk = Walk(atlas, breakpoints=["*.layers.2"])
    ids = walk.generate(**asked)
    assert ids[0, -1] == 40
    assert walk.stops == ["function breakpoint: before model.layers.2 in step 0"]


def test_a_cache_that_the_user_handed_in_stays_theirs_and_ends_in_the_same_state(atlas: Loaded) -> None:
    caches = [DynamicCache(config=atlas.model.config) for _ in range(2)]
    asked = {**inputs(atlas, PROMPTS[:1]), **common(atlas)}
    expected = atlas.model.generate(**asked, past_key_values=caches[0])
    actual = Walk(atlas, step_in_everywhere, ["*.layers.1"]).generate(**asked, past_key_values=caches[1])
    assert torch.equal(actual, expected)
    for ours, theirs in zip(caches[1].layers, caches[0].layers, strict=True):
        assert torch.equal(ours.keys, theirs.keys)
        assert torch.equal(ours.values, theirs.values)


def hooks(loaded: Loaded) -> list[int]:
    """Identifiers of all hooks on the model; transformers leaves some of its own to collect hidden states."""
    modules = loaded.model.modules()
    return [hook for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks) for hook in hooks]


def test_nothing_is_left_on_the_model_after_a_run(atlas: Loaded) -> None:
    original, before = GenerationMixin._sample, hooks(atlas)
    Walk(atlas, step_in_everywhere, ["*.layers.1", "after:LlamaMLP"]).generate(
        **inputs(atlas, PROMPTS[:1]), **common(atlas)
    )
    assert GenerationMixin._sample is original
    assert not _global_forward_pre_hooks
    assert hooks(atlas) == before
    assert sys.getprofile() is None
