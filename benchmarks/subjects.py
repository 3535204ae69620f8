"""The models that are measured, each ready to generate the same text with and without the debugger, in this process."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from benchmarks import ATLAS
from benchmarks.measure import Laps, interleaved, now
from dap_server.engine.analysis.conditions.judge import ConditionJudge
from dap_server.engine.anatomy.loading import Loaded, load
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.breakpoints import Wanted, place
from dap_server.engine.execution.prompting import PromptRun
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.protocol.launch import LaunchArguments


class Subject:
    """A model with a prompt. Goes on at once from every stop, and counts them."""

    def __init__(self, loaded: Loaded, prompt: str, tokens: int, lap: int) -> None:
        """`lap`: tokens that are timed together, enough of them that text is written in every lap."""
        generation = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        launch = LaunchArguments(prompt=prompt, generation=generation, stop_at_end=False)
        self.loaded = loaded
        self.tokens = tokens
        self.stops = 0
        self._text: list[str] = []
        self._anatomy = Anatomy(loaded.model)
        self._stepper = Stepper(self._anatomy, self._stopped)
        self._stepper.judging.judge = ConditionJudge(self._anatomy, Vocabulary(loaded.tokenizer))
        self._run = PromptRun(loaded, launch, self._stepper, self._text.append)
        self._lap = lap
        self._forwards = 0
        self._moments: list[float] = []
        loaded.model.register_forward_pre_hook(self._note)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `generate` is given."""
        return {**self._run.inputs, "generation_config": self._run.config}

    def plain(self) -> Tensor:
        return self.generated_by(self._run.model)

    def generated_by(self, model: PreTrainedModel) -> Tensor:
        ids: Tensor = model.generate(**self.arguments)
        return ids

    def twin(self) -> PreTrainedModel:
        """The model once more, with the same weights in memory, for a tool that changes its modules."""
        model = self._run.model
        shared = (self, *model.parameters(), *model.buffers())
        return copy.deepcopy(model, {id(one): one for one in shared})

    def attached(self, *breakpoints: str, condition: str | None = None, filters: Sequence[str] = ()) -> Tensor:
        self.stops = 0
        self._text.clear()
        wanted = [Wanted(i, name, condition=condition) for i, name in enumerate(breakpoints, 1)]
        wanted += [Wanted(i, name, "exception") for i, name in enumerate(filters, len(wanted) + 1)]
        placed = [place(one, self._anatomy, self._stepper.regions) for one in wanted]
        assert all(one.is_verified for one in placed), [one.problem for one in placed]
        self._stepper.set_breakpoints(placed)
        return self._run.run()

    def laps(self, breakpoints: Sequence[str], repeats: int, condition: str | None = None) -> Laps:
        """Of `plain`, of `again` (plain once more: how well ratios can be told here), and of `attached`."""
        attached = functools.partial(self.attached, *breakpoints, condition=condition)
        runs: dict[str, Callable[[], Tensor]] = {"plain": self.plain, "again": self.plain, "attached": attached}
        return interleaved({name: self.timed(run) for name, run in runs.items()}, repeats)

    def timed(self, run: Callable[[], Tensor]) -> Callable[[], list[float]]:
        """Measures the laps of `run`, which has been seen to generate the same text as `plain`."""
        assert torch.equal(run(), self.plain()), "the text is another one"
        return functools.partial(self.laps_of, run)

    def laps_of(self, run: Callable[[], Tensor]) -> list[float]:
        self._stepper.set_breakpoints([])  # those of the case before would stay on the model, which `plain` has too
        self._forwards = 0
        self._moments = [now()]
        run()
        self._moments.append(now())
        return [after - before for before, after in pairwise(self._moments)]

    def _note(self, *_: object) -> None:
        self._forwards += 1
        if self._forwards % self._lap == 0:
            self._moments.append(now())

    def _stopped(self, _stop: Stop) -> None:
        self.stops += 1
        self._stepper.resume(Motion.RUN)


def atlas(tokens: int = 64) -> Subject:
    """The example model: so small that what a token costs besides the model shows."""
    loaded = load(LaunchArguments(model=str(ATLAS)), lambda _what, _percent: None)
    return Subject(loaded, "The capital of France is", tokens, lap=32)


def llama(layers: int = 12, width: int = 768, words: int = 32_000, tokens: int = 64) -> Subject:
    """A language model of a usual shape, the smallest that people use, with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        vocab_size=words,
    )
    vocabulary = WordLevel({f"word{i}": i for i in range(words)}, unk_token="word0")
    tokenizer = Tokenizer(vocabulary)
    tokenizer.pre_tokenizer = WhitespaceSplit()
    loaded = Loaded(LlamaForCausalLM(config).eval(), PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    return Subject(loaded, " ".join(f"word{i}" for i in range(10, 42)), tokens, lap=2)


def tiny() -> Subject:
    """For a quick look whether a benchmark runs."""
    return llama(layers=2, width=64, words=100, tokens=4)
