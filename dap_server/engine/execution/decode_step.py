"""One step of decoding: the model's forward, the logits processors, the draw; each place of it told as it comes.

The calls are transformers' own `GenerationMixin._sample`'s, in the same order.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import MaxTimeCriteria
from transformers.generation.utils import ALL_CACHE_NAMES

from dap_server.engine.execution import randomness
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.collected import Collected
from dap_server.engine.execution.edits.options import Sampling
from dap_server.engine.execution.edits.step_edits import StepEdits
from dap_server.engine.execution.generation import Generation, Outcome, Processed, Selection
from dap_server.engine.execution.kernels import Kernels
from dap_server.engine.execution.stepping import Stepper
from dap_server.engine.execution.timeline import Timeline
from dap_server.modelmap.places import LOGITS, SAMPLE, Phase


class Watcher(Protocol):
    """Hears where in token selection a step is."""

    watching: bool

    def at(self, name: str, phase: Phase) -> None: ...


class DecodeStep:
    """What a decode loop has at the start of a step, and what it does in one."""

    def __init__(
        self,
        stepper: Stepper,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: Any,
        generation_config: Any,
        model_kwargs: dict[str, Any],
    ) -> None:
        self.stepper = stepper
        self._watcher: Watcher = stepper  # whom token selection reports its places to
        self.model = model
        self.input_ids = input_ids  # (B, T)
        self._given = Sampling(generation_config, logits_processor)
        self.logits_processor = logits_processor
        self.stopping_criteria = stopping_criteria
        self.config = generation_config
        self.model_kwargs = model_kwargs
        self.unfinished = torch.ones(input_ids.shape[0], dtype=torch.long, device=input_ids.device)  # (B,)
        self.collected = Collected(generation_config, model.config.is_encoder_decoder)
        self._is_encoder_decoder: bool = model.config.is_encoder_decoder
        self._has_eos = any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)
        self._timed = [criterion for criterion in stopping_criteria if isinstance(criterion, MaxTimeCriteria)]
        self._known_cache_name: str | None = None
        self._encoder_outputs = model_kwargs.get("encoder_outputs")
        mask = None if self._is_encoder_decoder else model_kwargs.get("attention_mask")  # else it is the encoder's
        self._anatomy = stepper.anatomy
        self._prompt_length = input_ids.shape[1]
        self._kernels = Kernels(model)
        self._kwargs_step = 0  # the step whose start `model_kwargs` is of
        self._started = time.monotonic() - stepper.seconds_stopped
        holders = stepper.holders.of_call([*logits_processor, *stopping_criteria])
        self._changes = StepEdits(stepper.anatomy)
        self.timeline = Timeline(model, holders, input_ids.device)
        outer = stepper.generation
        run = None if outer.is_own_loop else outer.run
        self.generation = Generation(
            input_ids=input_ids,
            attention_mask=mask if isinstance(mask, Tensor) and mask.dim() == 2 else None,
            prompt_length=self._prompt_length,
            unfinished=self.unfinished,
            is_own_loop=True,
            has_flags=True,
            encoded=None if outer.is_own_loop or not self._is_encoder_decoder else outer,
            run=run,
            branches=Branches() if run is None else run.branches,
        )

    def _begin(self, step: int) -> None:
        """It begins, as the edits have it. Nothing of it has run."""
        self._changes.begin(self.generation, step, self.cache, self._watcher is self.stepper)
        self.config, self.logits_processor = self._changes.sampling(self.generation, step, self._given)

    @property
    def _is_unseen(self) -> bool:
        """Whether nobody sees, hears or changes anything of the run just now."""
        return self.stepper.sees_nothing and not (self.generation.edits or self._changes.still_applied)

    def choose(self, scores: Tensor) -> Tensor:
        """(B,) ids from scores (B, V), to look at; finished sequences get padding. Raises CannotDraw."""
        if self.config.do_sample:
            randomness.require_distribution(scores)
        return self._draw(scores)

    def _draw(self, scores: Tensor) -> Tensor:
        if self.config.do_sample:
            probs = torch.softmax(scores, dim=-1)
            if self._watcher is self.stepper and self.stepper.late.listens:
                probs = self.stepper.late.alarms.guarded(probs)
            tokens = torch.multinomial(probs, num_samples=1).squeeze(1)
        else:
            tokens = torch.argmax(scores, dim=-1)
        tokens = self._changes.of_tokens(self.generation, tokens)
        if self._has_eos:
            padding = self.config._pad_token_tensor.to(tokens.device)
            tokens = tokens * self.unfinished + padding * (1 - self.unfinished)
        return tokens

    def _select(self, logits: Tensor, outputs: Any = None) -> Selection:
        """Chooses tokens from logits (B, V); the model's outputs are collected, unless it is a replay."""
        selection = self._selects(logits)
        if self._watcher is self.stepper and self.stepper.late.listens:
            self.stepper.late.alarms.hear_logits(logits)
        self._report(LOGITS)
        self._report(LOGITS, "after")
        self._process(selection)
        if outputs is not None:
            self.collected.add(outputs, logits, selection.scores)
        self._report(SAMPLE)
        if self._watcher is self.stepper:
            selection.tokens = self._draw(selection.scores)
            selection.outcome = self._outcome(selection)
        else:
            selection.tokens = self.choose(selection.scores)
        self._report(SAMPLE, "after")
        return selection

    def _selects(self, logits: Tensor) -> Selection:
        processors = self.logits_processor
        selection = Selection(logits, logits, processors, len(processors), unfinished=self.unfinished)
        self.generation.selection = selection
        return selection

    def _select_unseen(self, logits: Tensor, outputs: Any) -> Selection:
        """The same in the run itself where nobody hears of it, and there are no edits."""
        selection = self._selects(logits)
        self._process_at_once(selection)
        self.collected.add(outputs, logits, selection.scores)
        selection.tokens = self._draw(selection.scores)
        selection.outcome = self._outcome(selection)  # who has come since may listen already
        return selection

    def _outcome(self, selection: Selection) -> Outcome:
        """What the tokens lead to. Waits for the device, the only time in a step, and nobody has seen them yet."""
        tokens, late, step = selection.tokens, self.stepper.late, self.generation.step
        assert tokens is not None
        late.chosen()
        alarm = late.flag()
        ids = torch.cat([self.input_ids, tokens[:, None]], dim=-1)
        self._subtract_stops()
        unfinished = self.unfinished & ~self.stopping_criteria(ids, self.collected.scores)
        is_over = unfinished.max() == 0
        if alarm is None and not self._watcher.watching:
            return Outcome(ids, unfinished, bool(is_over))
        read = torch.stack([is_over, is_over if alarm is None else alarm]).to(tokens.dtype)
        over, is_hit, *selection.chosen = torch.cat([read, tokens]).tolist()
        if alarm is not None:
            late.heard(step, bool(is_hit))
        return Outcome(ids, unfinished, bool(over))

    def _forward(self, step: int) -> tuple[Any, Tensor]:
        """The model's outputs, and the logits (B, V) of the last position in float32."""
        with self._changes.of_modules(self.generation, step, self.input_ids.shape[1]):
            outputs, logits = self._forward_unedited(step)
        return outputs, self._changes.of_logits(self.generation, step, logits)

    def _forward_unedited(self, step: int) -> tuple[Any, Tensor]:
        outputs = self._decode() if step else self._prefill()
        self.model_kwargs = self.model._update_model_kwargs_for_generation(
            outputs, self.model_kwargs, is_encoder_decoder=self._is_encoder_decoder
        )
        self._kwargs_step = step + 1
        logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=self.input_ids.device)
        return outputs, logits

    def _prefill(self) -> Any:
        self._kernels.use(decode=False)
        first = not self.config.is_assistant
        return self.model._prefill(self.input_ids, self.config, self.model_kwargs, is_first_iteration=first)

    def _decode(self) -> Any:
        self._kernels.use(decode=True)
        new_positions = 1 if self.model_kwargs["use_cache"] else None
        inputs = self.model.prepare_inputs_for_generation(
            self.input_ids, next_sequence_length=new_positions, **self.model_kwargs
        )
        return self.model(**inputs, return_dict=True)

    def _process(self, selection: Selection) -> None:
        """Runs the logits processors; one by one, as places, when somebody may want to stop between them or looks."""
        processors = self.logits_processor
        if type(processors) is not LogitsProcessorList or not self._watcher.watching:
            self._process_at_once(selection)
        elif processors:
            selection.logits = selection.logits.clone()  # processors may write into what they are given
            for processor in processors:
                self._process_one(processor, selection)
        selection.waiting = 0

    def _process_at_once(self, selection: Selection) -> None:
        selection.scores = self.logits_processor(self.input_ids, selection.logits)
        selection.waiting = 0

    def _process_one(self, processor: Any, selection: Selection) -> None:
        selection.running, name = processor, type(processor).__name__
        self._report(name)
        selection.scores = LogitsProcessorList([processor])(self.input_ids, selection.scores)
        selection.kept.append(Processed(name, processor, selection.scores.clone()))
        selection.waiting -= 1
        self._report(name, "after")
        selection.running = None

    def _report(self, name: str, phase: Phase = "before") -> None:
        if self._watcher.watching:
            self._watcher.at(name, phase)

    @property
    def is_sampled(self) -> bool:
        return bool(self.config.do_sample)

    @property
    def cache(self) -> Any:
        name = self._known_cache_name or self._cache_name
        return self.model_kwargs.get(name) if name else None

    @property
    def _cache_name(self) -> str | None:
        if self._known_cache_name is None:
            self._known_cache_name = next(filter(self.model_kwargs.__contains__, ALL_CACHE_NAMES), None)
        return self._known_cache_name

    @property
    def _elapsed(self) -> float:
        """Seconds of running; stops do not count."""
        return time.monotonic() - self.stepper.seconds_stopped - self._started

    def _set_elapsed(self, seconds: float) -> None:
        self._started = time.monotonic() - self.stepper.seconds_stopped - seconds

    def _subtract_stops(self) -> None:
        """A second pass over known steps takes, for the criteria, as long as the first."""
        step, ends = self.generation.step, self.timeline.ends
        if step == len(ends):
            ends.append(self._elapsed)
        else:
            self._set_elapsed(ends[step])
        for criterion in self._timed:
            criterion.initial_timestamp = time.time() - ends[step]
