"""Padding and mask of what a step reads, held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.anatomy.modules import Anatomy


@dataclass(frozen=True)
class Given:
    """What a step reads of one sequence: the prompt in the first one, then the token that was made, which is none.

    Attributes:
        is_padding: (T,) what is padding by its token.
        is_seen: (T,) what the mask lets the model look at.
        is_encoded: whether it is an encoder's, which reads in both directions: padding may stand behind the text.
    """

    is_padding: Tensor
    is_seen: Tensor
    is_encoded: bool

    @property
    def attended_padding(self) -> Tensor:
        """() padding that the model looks at."""
        return (self.is_padding & self.is_seen).sum()

    @property
    def masked_tokens(self) -> Tensor:
        """() tokens of the text that the model does not see."""
        return (~self.is_padding & ~self.is_seen).sum()

    @property
    def tokens(self) -> Tensor:
        """() tokens of the text that it sees."""
        return (~self.is_padding & self.is_seen).sum()

    @property
    def right_padding(self) -> Tensor:
        """() positions behind the last token of the text, where a decoder goes on; 0 where there is no text."""
        if self.is_encoded:
            return torch.zeros_like(self.tokens)
        behind = (~self.is_padding & self.is_seen).flip(0).cumsum(dim=0) == 0
        return torch.where(self.tokens > 0, behind.sum(), 0)


def given(passing: Passing) -> Given:
    """Raises NotKnown: nobody knows the input."""
    candidate, key = passing.candidate, ("given", passing.sequence)
    if key not in candidate.known:
        candidate.known[key] = _given(passing)
    found: Given = candidate.known[key]
    return found


def _given(passing: Passing) -> Given:
    generation = passing.candidate.generation
    source = generation if generation.encoded is None else generation.encoded
    if source.input_ids is None:
        raise NotKnown("the tokens of the input are not known here")
    if generation.step:
        one = torch.ones(1, dtype=torch.bool, device=source.input_ids.device)
        return Given(~one, one, False)
    row = passing.sequence * source.sequences // generation.sequences  # an input may have several answers
    ids, mask = source.input_ids[row], source.attention_mask
    is_seen = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask[row].bool()
    is_encoded = bool(getattr(getattr(passing.anatomy.model, "config", None), "is_encoder_decoder", False))
    return Given(padding_of(ids, passing.anatomy), is_seen, is_encoded)


def padding_of(ids: Tensor, anatomy: Anatomy) -> Tensor:
    """(T,) which ids are padding.

    A padding token that is also the first or the last token of a text is padding at the edges of a sequence only, and
    the one next to the text is not: it may be the text's own. So may one that stands alone.
    """
    pad, shared = _pad_id(anatomy)
    if pad is None:
        return torch.zeros_like(ids, dtype=torch.bool)
    is_pad = ids == pad
    if not shared:
        return is_pad
    return (_run(is_pad) | _run(is_pad.flip(0)).flip(0)) & (ids.shape[0] > 1)


def _run(flags: Tensor) -> Tensor:
    """(T,) the run of flags at the beginning, without its last one unless it is everything."""
    run = flags.cumprod(dim=0).bool()
    behind = torch.cat([run[1:], run[-1:]])
    return run & behind


def _pad_id(anatomy: Anatomy) -> tuple[int | None, bool]:
    """The padding token, and whether it is also one that begins or ends a text."""
    pad: int | None = None
    others: set[int] = set()
    for config in (getattr(anatomy.model, name, None) for name in ("generation_config", "config")):
        found = _ids(config, "pad_token_id")
        pad = found[0] if pad is None and found else pad
        others.update(_ids(config, "bos_token_id"), _ids(config, "eos_token_id"))
    return pad, pad in others


def _ids(config: Any, name: str) -> list[int]:
    value = getattr(config, name, None)
    return [value] if isinstance(value, int) else list(value) if isinstance(value, list) else []
