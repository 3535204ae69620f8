"""Greedy and sampled decoding, one step at a time, in the place of transformers' `GenerationMixin._sample`.

`generate` prepares everything (cache, masks, processors, criteria) and calls `_sample`; while a debugger is attached
that call arrives here. Replacing `_sample` rather than passing `custom_generate` leaves streamers, stop strings,
assisted and beam search as they are. Other decoding methods run untouched.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList

from dap_server.engine.execution import caches, randomness
from dap_server.engine.execution.branches import Branches, Turn
from dap_server.engine.execution.decode_step import DecodeStep
from dap_server.engine.execution.generation import Generation, Selection, StepRecord, Unsettled
from dap_server.engine.execution.probes import Enough, Probe, StepProbe, TraceProbe, instrumented
from dap_server.engine.execution.stepping import Rewind, Stepper
from dap_server.engine.execution.timeline import Checkpoint
from dap_server.engine.execution.values import of_sequence
from dap_server.modelmap.places import STEP, Phase


class Listener(Protocol):
    """Hears what the loop makes."""

    def token(self, tokens: Tensor) -> None:
        """A step chose tokens (B,)."""

    def finished(self, generation: Generation) -> None:
        """The last token is chosen; what the call returns is not made yet."""


class SamplingLoop(DecodeStep):
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
        super().__init__(
            stepper, model, input_ids, logits_processor, stopping_criteria, generation_config, model_kwargs
        )
        self.streamer = streamer
        self.listener = listener
        self._unsettled = Unsettled()
        self._heard = 0  # steps whose tokens the listener and the streamer have been given
        self.generation.tape = self

    def run(self) -> Any:
        """All steps, then what `generate` returns: ids (B, T) or a transformers output with them."""
        self.stepper.begin(self.generation)
        try:
            with self._kernels:
                self._run_back_and_forth()
        finally:
            self._changes.end()
        if self.streamer is not None:
            self.streamer.end()
        cache, encoded = self.cache, self._encoder_outputs
        return self.collected.returned(self.input_ids, self.config, cache, encoded)

    def _run_back_and_forth(self) -> None:
        while True:
            try:
                return self._run_to_the_end()
            except Rewind as rewind:
                if rewind.begins_anew:
                    raise  # it leads to a call with another prompt
                self._go_back(rewind.start)
                if rewind.turn is not None:
                    self._turn(rewind.turn)
                self.stepper.go_to(rewind)

    def _run_to_the_end(self) -> None:
        generation = self.generation
        while not generation.is_over:
            generation.is_over = self._step_reported()
            generation.step += not generation.is_over
        self.listener.finished(generation)

    def _turn(self, turn: Turn) -> None:
        """It stands at the start of a step, and goes on from there by the edits of a branch."""
        generation, step = self.generation, turn.step
        generation.branches.take(turn)
        self.timeline.forget_after(step)
        if self._heard > step:
            self._heard = step
            self.stepper.turned(generation)

    def _step_reported(self) -> bool:
        try:
            return self._step()
        except Exception as error:
            self.stepper.late.raised(self.generation.step, error)
            raise

    def _step(self) -> bool:
        """One forward and one token; returns whether it was the last."""
        step = self.generation.step
        self.timeline.record(step, self.cache, self.model_kwargs, self.unfinished)
        if self._is_unseen:
            return self._step_unseen(step)
        self._begin(step)
        if self.config.do_sample:
            self.timeline.draws(step)
        self.stepper.step_begins()
        outputs, logits = self._forward(step)
        selection = self._select(logits, outputs)
        del outputs  # the logits of a whole prompt are large
        return self._append(selection)

    def _step_unseen(self, step: int) -> bool:
        """One that nobody hears of, and so without all that is there to be heard: in a small model that would show."""
        self.config, self.logits_processor = self._given
        self.stepper.flags.occurrences.clear()
        if self.config.do_sample:
            self.timeline.draws(step)
        outputs, logits = self._forward_unedited(step)
        if self._is_unseen:
            selection = self._select_unseen(logits, outputs)
        else:  # somebody came meanwhile
            selection = self._select(self._changes.of_logits(self.generation, step, logits), outputs)
        del outputs
        return self._append(selection)

    def _append(self, selection: Selection) -> bool:
        generation, step, tokens = self.generation, self.generation.step, selection.tokens
        assert tokens is not None
        assert selection.outcome is not None
        self.input_ids, self.unfinished, is_over = selection.outcome
        generation.input_ids, generation.unfinished = self.input_ids, self.unfinished
        self._keep_record(step, record := StepRecord(tokens, selection.scores))
        self._unsettled.add(record, selection.scores.nbytes)
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
    def cache_began_with(self, step: int) -> list[int | None]:
        self._look_back()
        mark = self.timeline.steps[step].cache
        return [] if mark is None else caches.seen_at(mark, self.cache)

    def _look_back(self) -> None:
        self.timeline.look_back(self.cache, self.model_kwargs, self._kwargs_step)

    def _start_for(self, step: int) -> tuple[int, Checkpoint]:
        self._look_back()
        return self.timeline.start_for(step, self.cache)

    def require_again(self) -> None:
        """Every step of it can."""

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Nobody sees what runs here, and it leaves the suspended run as it is."""
        holders, kernels = self.timeline.holders, self._kernels
        device = self.input_ids.device
        with self.stepper.undisturbed(), randomness.kept(device), kernels.kept(), holders.kept(), self._changes.kept():
            yield

    def replay(self, step: int, probe: Probe | None = None, supposing: Branches | None = None) -> Selection | None:
        """Runs a past or the present step again beside the suspended one, which notices nothing.

        Raises:
            Cancelled: the client no longer wants it.
        """
        with self.aside():
            try:
                return self._of(supposing)._at(step, probe, supposing)._replay_here(step, probe)
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
            edits = self._changes.of_a_text(self.generation, ids.shape[1])
            seen = contextlib.nullcontext() if probe is None else instrumented(self._anatomy, probe)
            with edits, seen:
                return self.model(**given, use_cache=False, return_dict=True)

    def follow(
        self,
        steps: range,
        branches: Branches,
        probe: Callable[[int], Probe],
        heard: Callable[[int, Selection], None],
    ) -> None:
        """Runs steps of another branch one after another beside the suspended run, along the text that it has."""
        records = branches.present.records
        with self.aside():
            loop = self._of(branches)
            start = loop._last_common(steps.start, branches)
            past = loop._at(start, None)
            past.generation = replace(past.generation, branches=branches)
            for step in range(start, steps.stop):
                self.stepper.stage.progress.reached(step - start, steps.stop - start)
                wanted = probe(step) if step in steps else None
                past._watcher = _InReplay(wanted, past.generation)
                selection = past._replay_here(step, wanted)
                if step in steps:
                    heard(step, selection)
                past._append_aside(records[step].tokens if step < len(records) else selection.tokens)

    def _of(self, branches: Branches | None) -> SamplingLoop:
        """The loop of branches: another one, at its start, if they have another prompt."""
        if branches is None or branches.present.edits.prompts == self.generation.edits.prompts:
            return self
        assert self.generation.run is not None, "nobody else edits prompts"
        loop = self.generation.run.beside(branches)
        loop._kernels, loop._changes = self._kernels, self._changes.beside()
        return loop

    def _last_common(self, step: int, branches: Branches) -> int:
        """The last step up to this one that is known here, and begins in the same way in other branches."""
        other = self.generation.edits.first_difference(branches.present.edits)
        return min(step, len(self.timeline.steps) - 1, step if other is None else other)

    def _replay_here(self, step: int, probe: Probe | None) -> Selection:
        seen = contextlib.nullcontext() if probe is None else instrumented(self._anatomy, probe)
        self._begin(step)
        with seen:
            self._report(STEP)
            return self._select(self._forward(step)[1])

    def _at(self, step: int, probe: Probe | None, supposing: Branches | None = None) -> SamplingLoop:
        """Another loop that stands at the start of a step, on a view of the cache. Holders are set to that time."""
        if supposing is not None:
            return self._at(self._last_common(step, supposing), probe)._goes_on_to(step, supposing)
        start, checkpoint = self._start_for(step)
        past = copy.copy(self)
        past.generation = replace(self.generation, selection=None)
        past._watcher = _InReplay(probe, past.generation)
        past._place(start, checkpoint, caches.view(checkpoint.cache_object, self.timeline.mark_of(start, checkpoint)))
        self._changes.gone_back(past.cache, start, is_live=False)
        for s in range(start, step):
            self.stepper.stage.progress.reached(s - start, step - start + 1)
            past._advance(s, self.input_ids)
        past._stand_at(step)
        return past

    def _goes_on_to(self, step: int, supposing: Branches) -> SamplingLoop:
        """Runs on as another branch, whose tokens it chooses as that would."""
        self.generation = replace(self.generation, branches=supposing)
        watcher, self._watcher = self._watcher, _InReplay(None, self.generation)
        for s in range(self.generation.step, step):
            self.stepper.stage.check_cancelled()
            self._begin(s)
            selection = self._select(self._forward(s)[1])
            self._append_aside(selection.tokens)
        self._watcher = watcher
        return self

    def _append_aside(self, tokens: Tensor | None) -> None:
        """A step beside the run is over, with tokens (B,): stands at the start of the next one."""
        assert tokens is not None
        self.input_ids = torch.cat([self.input_ids, tokens[:, None]], dim=-1)
        self.unfinished = self.unfinished & ~self.stopping_criteria(self.input_ids, self.collected.scores)
        self.generation.step, self.generation.input_ids = self.generation.step + 1, self.input_ids
        self.generation.unfinished = self.unfinished

    def _advance(self, step: int, ids: Tensor) -> None:
        """Runs a step whose token is known: only for what it leaves in the cache and in the objects that remember."""
        if (random := self.timeline.steps[step].random) is not None:  # else as the step before has left it
            randomness.restore(random, ids.device)
        self._begin(step)
        _, logits = self._forward(step)
        remembering = self.timeline.holders.change_every_step
        if remembering:
            self.logits_processor(self.input_ids, logits)
        self.input_ids = ids[:, : self._prompt_length + step + 1]
        if remembering:
            self.stopping_criteria(self.input_ids, self.collected.cropped(step + 1).scores)

    def _go_back(self, step: int) -> None:
        """Stands at the start of an earlier step again. The forward that was suspended is gone."""
        ids = self.input_ids
        start, checkpoint = self._start_for(step)
        self._place(start, checkpoint, caches.rewind(checkpoint.cache_object, self.timeline.mark_of(start, checkpoint)))
        self._changes.gone_back(self.cache, start, is_live=True)
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
        self.model_kwargs = self.timeline.kwargs_of(step, checkpoint)
        if name is not None and cache is not None:
            self.model_kwargs[name] = cache
        self.input_ids = self.input_ids[:, : self._prompt_length + step]
        self._kwargs_step = step
        self.timeline.holders.restore(checkpoint.holders)
        self._stand_at(step)

    def _stand_at(self, step: int) -> None:
        state = self.timeline.stands_at(step, self.cache)
        self.unfinished = state.unfinished
        self._set_elapsed(self.timeline.ends[step - 1] if step else 0.0)
        assert state.random is not None
        randomness.restore(state.random, self.input_ids.device)
        generation = self.generation
        generation.step, generation.input_ids, generation.unfinished = step, self.input_ids, self.unfinished


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
