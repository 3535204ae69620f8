"""What `return_dict_in_generate` gives back besides the tokens."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor
from transformers.generation.utils import GenerateDecoderOnlyOutput, GenerateEncoderDecoderOutput


class Collected:
    """A tuple with an entry per step for everything that was asked for, None for the rest."""

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

    def cropped(self, steps: int) -> Collected:
        """The first so many steps of it."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, tuple):
                setattr(other, name, value[:steps])
        return other

    def returned(self, input_ids: Tensor, config: Any, cache: Any, encoded: Any) -> Any:
        """What `generate` gives back: ids (B, T), or a transformers output with them. `encoded`: by an encoder."""
        if not config.return_dict_in_generate:
            return input_ids
        common = {
            "sequences": input_ids,
            "scores": self.scores,
            "logits": self.logits,
            "past_key_values": cache,
        }
        if not self._is_encoder_decoder:
            return GenerateDecoderOnlyOutput(**common, attentions=self.attentions, hidden_states=self.hidden_states)
        encoder: Any = encoded or {}
        return GenerateEncoderDecoderOutput(
            **common,
            encoder_attentions=encoder.get("attentions") if config.output_attentions else None,
            encoder_hidden_states=encoder.get("hidden_states") if config.output_hidden_states else None,
            decoder_attentions=self.attentions,
            cross_attentions=self.cross_attentions,
            decoder_hidden_states=self.hidden_states,
        )
