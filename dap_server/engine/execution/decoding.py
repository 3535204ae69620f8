"""Greedy and sampled decoding, one step at a time, in the place of transformers' `GenerationMixin._sample`.

`generate` prepares everything (cache, masks, processors, criteria) and calls `_sample`; while a debugger is attached
that call arrives here. Replacing `_sample` rather than passing `custom_generate` leaves streamers, stop strings,
assisted and beam search as they are. Other decoding methods run untouched.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.utils import (
    ALL_CACHE_NAMES,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
    GenerationMixin,
)

from dap_server.engine.execution.generation import Generation, Selection, StepRecord
from dap_server.engine.execution.stepping import Stepper
from dap_server.modelmap.places import LOGITS, SAMPLE


class Listener(Protocol):
    """Hears what the loop makes."""

    def token(self, tokens: Tensor) -> None:
        """A step chose tokens (B,)."""

    def finished(self, generation: Generation) -> None:
        """The last token is chosen; what the call returns is not made yet."""


class Collected:
    """What `return_dict_in_generate` gives back besides the tokens: a tuple per step, None when not asked for."""

    def __init__(self, config: Any, is_encoder_decoder: bool) -> None:
        wanted = config.return_dict_in_generate
        attentions = wanted and config.output_attentions
        self._is_encoder_decoder = is_encoder_decoder
        self.scores: tuple[Tensor, ...] | None = () if wanted and config.output_scores else None
        self.logits: tuple[Tensor, ...] | None = () if wanted and config.output_logits else None
        self.attentions: tuple[Any, ...] | None = () if attentions else None
        self.cross_attentions: tuple[Any, ...] | None = () if attentions else None
        self.hidden_states: tuple[Any, ...] | None = () if wanted and config.output_hidden_states else None

    def add(self, outputs: Any, logits: Tensor, scores: Tensor) -> None:
        prefix = "decoder_" if self._is_encoder_decoder else ""
        if self.scores is not None:
            self.scores += (scores,)
        if self.logits is not None:
            self.logits += (logits,)
        if self.attentions is not None:
            self.attentions += (outputs[f"{prefix}attentions"],)
            if self._is_encoder_decoder and self.cross_attentions is not None:
                self.cross_attentions += (outputs.cross_attentions,)
        if self.hidden_states is not None:
            self.hidden_states += (outputs[f"{prefix}hidden_states"],)


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
        mask = model_kwargs.get("attention_mask")
        self.generation = Generation(
            input_ids=input_ids,
            attention_mask=mask if isinstance(mask, Tensor) and mask.dim() == 2 else None,
            prompt_length=input_ids.shape[1],
            unfinished=self.unfinished,
            chooser=self,
        )

    def run(self) -> Any:
        """All steps, then what `generate` returns: ids (B, T) or a transformers output with them."""
        self.stepper.begin(self.generation)
        is_over = self._step(self._prefill)
        with self.model._optimize_model_for_decode():
            while not is_over:
                self.generation.step += 1
                is_over = self._step(self._decode)
        self.listener.finished(self.generation)
        if self.streamer is not None:
            self.streamer.end()
        return self._result()

    def choose(self, scores: Tensor) -> Tensor:
        """(B,) ids from scores (B, V); finished sequences get padding."""
        if self.config.do_sample:
            tokens = torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1).squeeze(1)
        else:
            tokens = torch.argmax(scores, dim=-1)
        if self._has_eos:
            padding = self.config._pad_token_tensor.to(tokens.device)
            tokens = tokens * self.unfinished + padding * (1 - self.unfinished)
        return tokens

    def _step(self, forward: Callable[[], Any]) -> bool:
        """One forward and one token; returns whether it was the last."""
        self.stepper.step_begins()
        outputs = forward()
        self.model_kwargs = self.model._update_model_kwargs_for_generation(
            outputs, self.model_kwargs, is_encoder_decoder=self._is_encoder_decoder
        )
        logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=self.input_ids.device)  # (B, V)
        selection = self.generation.selection = Selection(logits, logits)
        with self._reported(LOGITS):
            pass
        self._process(selection)
        self.collected.add(outputs, logits, selection.scores)
        del outputs  # the logits of a whole prompt are large
        with self._reported(SAMPLE):
            tokens = selection.tokens = self.choose(selection.scores)
        return self._append(tokens, selection)

    def _prefill(self) -> Any:
        first = not self.config.is_assistant
        return self.model._prefill(self.input_ids, self.config, self.model_kwargs, is_first_iteration=first)

    def _decode(self) -> Any:
        new_positions = 1 if self.model_kwargs["use_cache"] else None
        inputs = self.model.prepare_inputs_for_generation(
            self.input_ids, next_sequence_length=new_positions, **self.model_kwargs
        )
        return self.model(**inputs, return_dict=True)

    def _process(self, selection: Selection) -> None:
        """Runs the logits processors; one by one, as places, when somebody may want to stop between them."""
        processors = self.logits_processor
        if not self.stepper.watching or type(processors) is not LogitsProcessorList:
            selection.scores = processors(self.input_ids, selection.logits)
            selection.processors = [type(processor).__name__ for processor in processors]
            return
        for processor in processors:
            name = type(processor).__name__
            with self._reported(name):
                selection.scores = LogitsProcessorList([processor])(self.input_ids, selection.scores)
                selection.processors.append(name)

    @contextlib.contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """Reports a pseudo-module before and after what it does."""
        if self.stepper.watching:
            self.stepper.at(name, "before")
        yield
        if self.stepper.watching:
            self.stepper.at(name, "after")

    def _append(self, tokens: Tensor, selection: Selection) -> bool:
        generation = self.generation
        self.input_ids = generation.input_ids = torch.cat([self.input_ids, tokens[:, None]], dim=-1)
        generation.records.append(StepRecord(tokens, _probability(selection.scores, tokens)))
        ended = self.stopping_criteria(self.input_ids, self.collected.scores)
        self.unfinished = generation.unfinished = self.unfinished & ~ended
        if self.streamer is not None:
            self.streamer.put(tokens.cpu())
        is_over = bool(self.unfinished.max() == 0)
        self.listener.token(tokens)
        generation.selection = None
        return is_over

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
    chosen = scores.gather(1, tokens[:, None]).squeeze(1)
    return (chosen - scores.logsumexp(dim=-1)).exp()


@contextlib.contextmanager
def own_decoding(stepper: Stepper, listener: Listener) -> Iterator[None]:
    """While this is open, sampling and greedy decoding of this thread run in a `SamplingLoop`.

    Calls of other threads, of an assistant model, or inside a running call, and decoding in lock-step with other ranks,
    run in transformers' own loop.
    """
    original = GenerationMixin._sample
    thread = threading.get_ident()
    running = threading.local()

    @functools.wraps(original)
    def sample(
        self: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        synced_gpus: bool = False,
        streamer: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        is_inner = getattr(running, "now", False) or getattr(generation_config, "is_assistant", False)
        if is_inner or synced_gpus or threading.get_ident() != thread:
            return original(
                self, input_ids, logits_processor, stopping_criteria, generation_config, synced_gpus, streamer,
                **model_kwargs,
            )  # fmt: skip
        running.now = True
        try:
            return SamplingLoop(
                stepper, self, input_ids, logits_processor, stopping_criteria, generation_config, streamer,
                model_kwargs, listener,
            ).run()  # fmt: skip
        finally:
            running.now = False

    GenerationMixin._sample = sample
    try:
        yield
    finally:
        GenerationMixin._sample = original
