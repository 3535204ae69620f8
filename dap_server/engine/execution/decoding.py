"""Greedy and sampled decoding, one step at a time, in the place of transformers' `GenerationMixin._sample`.

`generate` prepares everything (cache, masks, processors, criteria) and calls `_sample`; while a debugger is attached
that call arrives here. Replacing `_sample` rather than passing `custom_generate` leaves streamers, stop strings,
assisted and beam search as they are. Other decoding methods run untouched.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import MaxTimeCriteria
from transformers.generation.utils import (
    ALL_CACHE_NAMES,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
)

from dap_server.engine.execution import caches, randomness
from dap_server.engine.execution.arguments import Growing
from dap_server.engine.execution.collected import Collected
from dap_server.engine.execution.generation import Generation, Outcome, Processed, Selection, StepRecord
from dap_server.engine.execution.holders import Holders
from dap_server.engine.execution.kernels import Kernels
from dap_server.engine.execution.probes import Enough, Probe, StepProbe, TraceProbe, instrumented
from dap_server.engine.execution.stepping import Rewind, Stepper
from dap_server.engine.execution.timeline import Checkpoint, Timeline
from dap_server.engine.execution.values import of_sequence
from dap_server.modelmap.places import LOGITS, SAMPLE, STEP, Phase


class Listener(Protocol):
    """Hears what the loop makes."""

    def token(self, tokens: Tensor) -> None:
        """A step chose tokens (B,)."""

    def finished(self, generation: Generation) -> None:
        """The last token is chosen; what the call returns is not made yet."""


class SamplingLoop:
    """The loop of one `generate` call. Tokens, scores and returned values equal those of transformers' own."""

    def __init__(
        self,
        stepper: Stepper,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: Any,
        generation_config: Any,
        streamer: Any,
        model_kwargs: dict[str, Any],
        listener: Listener,
    ) -> None:
        self.stepper = stepper
        self._watcher: Stepper | _InReplay = stepper  # whom token selection reports its places to
        self.model = model
        self.input_ids = input_ids  # (B, T)
        self.logits_processor = logits_processor
        self.stopping_criteria = stopping_criteria
        self.config = generation_config
        self.streamer = streamer
        self.model_kwargs = model_kwargs
        self.listener = listener
        self.unfinished = torch.ones(input_ids.shape[0], dtype=torch.long, device=input_ids.device)  # (B,)
        self.collected = Collected(generation_config, model.config.is_encoder_decoder)
        self._is_encoder_decoder: bool = model.config.is_encoder_decoder
        self._has_eos = any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)
        self._encoder_outputs = model_kwargs.get("encoder_outputs")
        mask = None if self._is_encoder_decoder else model_kwargs.get("attention_mask")  # else it is the encoder's
        self._anatomy = stepper.anatomy
        self._prompt_length = input_ids.shape[1]
        self._kernels = Kernels(model)
        self._heard = 0  # steps whose tokens the listener and the streamer have been given
        self._kwargs_step = 0  # the step whose start `model_kwargs` is of
        self._growing, self._arguments_changed = Growing(), False
        self._started = time.monotonic() - stepper.seconds_stopped
        holders = Holders(model, [*logits_processor, *stopping_criteria])
        self.timeline = Timeline(model, holders, input_ids.device)
        self.generation = Generation(
            input_ids=input_ids,
            attention_mask=mask if isinstance(mask, Tensor) and mask.dim() == 2 else None,
            prompt_length=self._prompt_length,
            unfinished=self.unfinished,
            tape=self,
            is_own_loop=True,
            has_flags=True,
            encoded=None if stepper.generation.is_own_loop or not self._is_encoder_decoder else stepper.generation,
        )

    def run(self) -> Any:
        """All steps, then what `generate` returns: ids (B, T) or a transformers output with them."""
        self.stepper.begin(self.generation)
        with self._kernels:
            while True:
                try:
                    self._run_to_the_end()
                    break
                except Rewind as rewind:
                    self._go_back(rewind.place.step)
                    self.stepper.go_to(rewind)
        if self.streamer is not None:
            self.streamer.end()
        return self._result()

    def _run_to_the_end(self) -> None:
        generation = self.generation
        while not generation.is_over:
            generation.is_over = self._step_reported()
            generation.step += not generation.is_over
        self.listener.finished(generation)

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
        if self._has_eos:
            padding = self.config._pad_token_tensor.to(tokens.device)
            tokens = tokens * self.unfinished + padding * (1 - self.unfinished)
        return tokens

    def _step_reported(self) -> bool:
        try:
            return self._step()
        except Exception as error:
            self.stepper.late.raised(self.generation.step, error)
            raise

    def _step(self) -> bool:
        """One forward and one token; returns whether it was the last."""
        step = self.generation.step
        self.timeline.record(
            step, self.cache, self.model_kwargs, self.unfinished, self._elapsed, self._arguments_changed
        )
        self.stepper.step_begins()
        outputs, logits = self._forward(step)
        selection = self._select(logits, outputs)
        del outputs  # the logits of a whole prompt are large
        return self._append(selection)

    def _select(self, logits: Tensor, outputs: Any = None) -> Selection:
        """Chooses tokens from logits (B, V); the model's outputs are collected, unless it is a replay."""
        waiting = len(self.logits_processor)
        selection = Selection(logits, logits, waiting=waiting, unfinished=self.unfinished)
        self.generation.selection = selection
        if self._watcher is self.stepper and self.stepper.late.listens:
            self.stepper.late.alarms.hear_logits(logits)
        with self._reported(LOGITS):
            pass
        self._process(selection)
        if outputs is not None:
            self.collected.add(outputs, logits, selection.scores)
        with self._reported(SAMPLE):
            if self._watcher is self.stepper:
                selection.tokens = self._draw(selection.scores)
                selection.outcome = self._outcome(selection)
            else:
                selection.tokens = self.choose(selection.scores)
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
        outputs = self._prefill() if step == 0 else self._decode()
        before = dict(self.model_kwargs)
        self.model_kwargs = self.model._update_model_kwargs_for_generation(
            outputs, self.model_kwargs, is_encoder_decoder=self._is_encoder_decoder
        )
        self._arguments_changed = self._growing.learn(before, self.model_kwargs)
        self._kwargs_step = step + 1
        return outputs, outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=self.input_ids.device)

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
            selection.scores = processors(self.input_ids, selection.logits)
            selection.processed = [Processed(type(processor).__name__, processor, None) for processor in processors]
        elif processors:
            selection.logits = selection.logits.clone()  # processors may write into what they are given
            for processor in processors:
                self._process_one(processor, selection)
        selection.waiting = 0

    def _process_one(self, processor: Any, selection: Selection) -> None:
        selection.running = processor
        with self._reported(name := type(processor).__name__):
            selection.scores = LogitsProcessorList([processor])(self.input_ids, selection.scores)
            selection.processed.append(Processed(name, processor, selection.scores.clone()))
            selection.waiting -= 1
        selection.running = None

    @contextlib.contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """Reports a pseudo-module before and after what it does."""
        self._report(name)
        yield
        self._report(name, "after")

    def _report(self, name: str, phase: Phase = "before") -> None:
        if self._watcher.watching:
            self._watcher.at(name, phase)

    def _append(self, selection: Selection) -> bool:
        generation, step, tokens = self.generation, self.generation.step, selection.tokens
        assert tokens is not None
        assert selection.outcome is not None
        self.input_ids, self.unfinished, is_over = selection.outcome
        generation.input_ids, generation.unfinished = self.input_ids, self.unfinished
        self._keep_record(step, StepRecord(tokens, _probability(selection.scores, tokens)))
        generation.seconds = self.timeline.ends[step]
        is_new = step == self._heard
        if is_new and self.streamer is not None:
            self.streamer.put(tokens.cpu())
        if is_new:
            self._heard += 1
            self.listener.token(tokens)
        generation.selection = None
        return is_over

    def _keep_record(self, step: int, record: StepRecord) -> None:
        """A step that runs again has to choose what it chose; if it does not, the run does not repeat itself."""
        records = self.generation.records
        if step == len(records):
            records.append(record)
        elif not torch.equal(records[step].tokens, record.tokens):
            self.generation.diverged_at = step
            del records[step + 1 :]
            records[step] = record
            self.timeline.forget_after(step)

    # --- the past

    @property
    def is_sampled(self) -> bool:
        return bool(self.config.do_sample)

    @property
    def cache(self) -> Any:
        return self.model_kwargs.get(self._cache_name) if self._cache_name else None

    def cache_began_with(self, step: int) -> list[int | None]:
        return caches.seen_at(self.timeline.steps[step].cache, self.cache)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Nobody sees what runs here, and it leaves the suspended run as it is."""
        holders, kernels = self.timeline.holders, self._kernels
        with self.stepper.undisturbed(), randomness.kept(self.input_ids.device), kernels.kept(), holders.kept():
            yield

    def replay(self, step: int, probe: Probe | None = None) -> Selection | None:
        """Runs a past or the present step again beside the suspended one, which notices nothing.

        Raises:
            Cancelled: the client no longer wants it.
        """
        with self.aside():
            try:
                return self._at(step, probe)._replay_here(step, probe)
            except Enough:
                return None
            except randomness.CannotDraw:
                if probe is None:
                    raise
                return None  # it has seen what ran before the draw
            except Exception as error:
                stop = self.stepper.stop
                if probe is None or stop is None or not stop.has_raised(error, step):
                    raise
                return None  # it has seen what ran before the exception that the run is stopped at

    def forward(self, ids: Tensor, sequence: int, probe: Probe | None = None, encodes: bool = False) -> Any:
        """What the model gives for a whole text (1, T) at once, without a cache, beside the suspended run."""
        given: dict[str, Any] = {"input_ids": ids}
        if self._is_encoder_decoder:
            names = ("attention_mask",) if encodes else ("attention_mask", "encoder_outputs")
            known = {name: self.model_kwargs[name] for name in names if name in self.model_kwargs}
            given = {"decoder_input_ids": ids, **of_sequence(known, sequence)}
            if encodes and self.generation.encoder is not None:
                given["input_ids"] = self.generation.encoder.ids_of(sequence, self.input_ids.shape[0])
        with self.aside():
            self._kernels.use(decode=False)
            seen = contextlib.nullcontext() if probe is None else instrumented(self._anatomy, probe)
            with seen:
                return self.model(**given, use_cache=False, return_dict=True)

    def _replay_here(self, step: int, probe: Probe | None) -> Selection:
        seen = contextlib.nullcontext() if probe is None else instrumented(self._anatomy, probe)
        with seen:
            self._report(STEP)
            return self._select(self._forward(step)[1])

    def _at(self, step: int, probe: Probe | None) -> SamplingLoop:
        """Another loop that stands at the start of a step, on a view of the cache. Holders are set to that time."""
        cache = self.cache
        start, checkpoint = self.timeline.start_for(step, cache)
        past = copy.copy(self)
        past.generation = replace(self.generation, selection=None)
        past._watcher = _InReplay(probe, past.generation)
        mark = checkpoint.cache if start == checkpoint.step else self.timeline.steps[start].cache
        past._place(start, checkpoint, caches.view(checkpoint.cache_object, mark))
        for s in range(start, step):
            self.stepper.stage.progress.reached(s - start, step - start + 1)
            past._advance(s, self.input_ids)
        past._stand_at(step)
        return past

    def _advance(self, step: int, ids: Tensor) -> None:
        """Runs a step whose token is known: only for what it leaves in the cache and in the objects that remember."""
        randomness.restore(self.timeline.steps[step].random, ids.device)
        _, logits = self._forward(step)
        remembering = self.timeline.holders.change_every_step
        if remembering:
            self.logits_processor(self.input_ids, logits)
        self.input_ids = ids[:, : self._prompt_length + step + 1]
        if remembering:
            self.stopping_criteria(self.input_ids, self.collected.cropped(step + 1).scores)

    def _go_back(self, step: int) -> None:
        """Stands at the start of an earlier step again. The forward that was suspended is gone."""
        ids, cache = self.input_ids, self.cache
        start, checkpoint = self.timeline.start_for(step, cache)
        mark = checkpoint.cache if start == checkpoint.step else self.timeline.steps[start].cache
        self._place(start, checkpoint, caches.rewind(checkpoint.cache_object, mark))
        self.generation.is_over, self.generation.selection = False, None
        with self.stepper.undisturbed():
            for s in range(start, step):
                self.stepper.stage.progress.reached(s - start, step - start + 1)
                self._advance(s, ids)
        self._stand_at(step)
        self.collected = self.collected.cropped(step)

    def _place(self, step: int, checkpoint: Checkpoint, cache: Any) -> None:
        """Sets everything that a step reads to what it was at its start."""
        name = self._cache_name  # before the arguments are those of step 0, which may have none
        if step == checkpoint.step:
            self.model_kwargs = dict(checkpoint.kwargs)
        else:
            self.model_kwargs = self._growing.cropped(self.model_kwargs, self._kwargs_step - step)
        if name is not None and cache is not None:
            self.model_kwargs[name] = cache
        self.input_ids = self.input_ids[:, : self._prompt_length + step]
        self._kwargs_step = step
        self.timeline.holders.restore(checkpoint.holders)
        self._stand_at(step)

    def _stand_at(self, step: int) -> None:
        state = self.timeline.steps[step]
        self.unfinished = state.unfinished
        self._set_elapsed(state.elapsed)
        randomness.restore(state.random, self.input_ids.device)
        generation = self.generation
        generation.step, generation.input_ids, generation.unfinished = step, self.input_ids, self.unfinished

    @property
    def _cache_name(self) -> str | None:
        return next((name for name in ALL_CACHE_NAMES if name in self.model_kwargs), None)

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
        self._set_elapsed(ends[step])
        for criterion in self.stopping_criteria:
            if isinstance(criterion, MaxTimeCriteria):
                criterion.initial_timestamp = time.time() - ends[step]

    def _result(self) -> Any:
        if not self.config.return_dict_in_generate:
            return self.input_ids
        collected = self.collected
        common = {
            "sequences": self.input_ids,
            "scores": collected.scores,
            "logits": collected.logits,
            "past_key_values": next((self.model_kwargs[n] for n in ALL_CACHE_NAMES if n in self.model_kwargs), None),
        }
        if not self._is_encoder_decoder:
            return GenerateDecoderOnlyOutput(
                **common, attentions=collected.attentions, hidden_states=collected.hidden_states
            )
        encoder: Any = self._encoder_outputs or {}
        return GenerateEncoderDecoderOutput(
            **common,
            encoder_attentions=encoder.get("attentions") if self.config.output_attentions else None,
            encoder_hidden_states=encoder.get("hidden_states") if self.config.output_hidden_states else None,
            decoder_attentions=collected.attentions,
            cross_attentions=collected.cross_attentions,
            decoder_hidden_states=collected.hidden_states,
        )


def _probability(scores: Tensor, tokens: Tensor) -> Tensor:
    """(B,) probability of tokens (B,) under softmax of scores (B, V)."""
    return torch.softmax(scores, dim=-1).gather(1, tokens[:, None]).squeeze(1)  # half the time of logsumexp


class _InReplay:
    """Hears of token selection in a replay, where nobody stops."""

    watching = True

    def __init__(self, probe: Probe | None, generation: Generation) -> None:
        if isinstance(probe, TraceProbe):
            probe.generation = generation
        self._trace = probe if isinstance(probe, StepProbe) else None

    def at(self, name: str, phase: Phase) -> None:
        if self._trace is not None:
            self._trace.at(name, phase)
