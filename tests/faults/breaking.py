"""Ways to break a model: each takes one that is well and changes it in place."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Break = Callable[[Any], None]


def nothing(_model: Any) -> None:
    """The model is well."""


def planted(parameter: str, at: tuple[int, ...], value: float) -> Break:
    """One element of a parameter has a value that is no number."""

    @torch.no_grad()
    def broken(model: Any) -> None:
        model.get_parameter(parameter)[at] = value

    return broken


def scaled(parameter: str, factor: float) -> Break:
    """As by a missing scale, a scale that was applied twice, or the wrong units of a quantised checkpoint."""

    @torch.no_grad()
    def broken(model: Any) -> None:
        model.get_parameter(parameter).mul_(factor)

    return broken


def filled(parameter: str, value: float) -> Break:
    """As of a tensor that was not in the checkpoint."""

    @torch.no_grad()
    def broken(model: Any) -> None:
        model.get_parameter(parameter).fill_(value)

    return broken


def untied(then: Break) -> Break:
    """The head gets weights of its own, so that what breaks one does not break the embedding too, or the reverse."""

    def broken(model: Any) -> None:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
        then(model)

    return broken


@torch.no_grad()
def forgotten_head(model: Any) -> None:
    """The head as it is initialised, because nobody tied it to the embedding."""
    made = torch.randn(model.lm_head.weight.shape, generator=torch.Generator().manual_seed(0))
    model.lm_head.weight = nn.Parameter(made * model.config.initializer_range)


@torch.no_grad()
def shuffled_head(model: Any) -> None:
    """The rows of the head belong to other tokens: another tokenizer's."""
    order = torch.randperm(model.lm_head.weight.shape[0], generator=torch.Generator().manual_seed(0))
    model.lm_head.weight = nn.Parameter(model.lm_head.weight[order])


def replaced(path: str, make: Callable[[Any], nn.Module]) -> Break:
    """Another module stands in the place of one; `make` is given that one."""

    def broken(model: Any) -> None:
        model.set_submodule(path, make(model.get_submodule(path)))

    return broken


def output_scaled(path: str, factor: float) -> Break:
    """What a module returns is scaled, with everything that it passes on."""

    def broken(model: Any) -> None:
        module = model.get_submodule(path)
        forward = module.forward

        def scaling(*args: Any, **kwargs: Any) -> Any:
            made = forward(*args, **kwargs)
            return (made[0] * factor, *made[1:]) if isinstance(made, tuple) else made * factor

        module.forward = scaling

    return broken


def masked(path: str, allows: Callable[[Tensor, Tensor], Tensor], forbids: float | None = None) -> Break:
    """One layer's attention has a mask of its own.

    Args:
        allows: whether a query (T, 1) may look at a key (1, S), by their positions.
        forbids: what is added to the scores of the others; the lowest number of the dtype if None.
    """

    def broken(model: Any) -> None:
        module = model.get_submodule(path)
        forward = module.forward

        def looking(*args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
            hidden: Tensor = kwargs["hidden_states"]
            queries = hidden.shape[1]
            earlier = past_key_values.get_seq_length(module.layer_idx)
            at = torch.arange(earlier + queries)
            allowed = allows(at[earlier:, None], at[None])
            lowest = torch.finfo(hidden.dtype).min if forbids is None else forbids
            mask = torch.zeros(allowed.shape, dtype=hidden.dtype).masked_fill(~allowed, lowest)
            changed = {**kwargs, "attention_mask": mask[None, None]}
            return forward(*args, past_key_values=past_key_values, **changed)

        module.forward = looking

    return broken


def rotary(change: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Break:
    """The rotary embedding is another one: `change` is given cosines and sines (B, T, D) and the positions (B, T)."""

    def broken(model: Any) -> None:
        module = model.model.rotary_emb
        forward = module.forward

        def turned(x: Tensor, position_ids: Tensor) -> Any:
            cos, sin = forward(x, position_ids)
            return change(cos, sin, position_ids)

        module.forward = turned

    return broken


def swapped_halves(cos: Tensor, sin: Tensor, _positions: Tensor) -> tuple[Tensor, Tensor]:
    """Turns the other way: the halves of the vectors are swapped."""
    return cos, -sin


def unturned(cos: Tensor, sin: Tensor, _positions: Tensor) -> tuple[Tensor, Tensor]:
    """Turns nothing: there are no positions."""
    return torch.ones_like(cos), torch.zeros_like(sin)


def undefined_from(position: int) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A table that ends too early."""

    def change(cos: Tensor, sin: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        return cos.masked_fill((positions >= position)[..., None], math.nan), sin

    return change


def without_epsilon(token: int) -> Break:
    """A norm that divides by zero where the embedding of a token is zero."""

    def broken(model: Any) -> None:
        planted("model.embed_tokens.weight", (token,), 0.0)(model)
        model.model.layers[0].input_layernorm.variance_epsilon = 0.0

    return untied(broken)


def poisoned_cache(layer: int, length: int) -> Break:
    """Something writes into the cache of a layer, as soon as it holds so many tokens."""

    def broken(model: Any) -> None:
        forward = model.model.forward

        @functools.wraps(forward)
        def writing(*args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
            if past_key_values is not None and past_key_values.get_seq_length() == length:
                past_key_values.layers[layer].keys[0, 0, 1, 0] = math.nan
            return forward(*args, past_key_values=past_key_values, **kwargs)

        model.model.forward = writing

    return broken


def raising_at(path: str, position: int) -> Break:
    """A module cannot do with more than so many positions."""

    def broken(model: Any) -> None:
        module = model.get_submodule(path)
        forward = module.forward

        def limited(*args: Any, **kwargs: Any) -> Any:
            if int(kwargs["position_ids"].max()) >= position:
                raise RuntimeError(f"position {position} is out of range")
            return forward(*args, **kwargs)

        module.forward = limited

    return broken


def wrong_size(path: str) -> Break:
    """A linear layer of another model."""
    return replaced(path, lambda module: nn.Linear(module.in_features + 1, module.out_features, bias=False))


def same_weights(path: str, other: str) -> Break:
    """A layer has the weights of another one."""

    def broken(model: Any) -> None:
        model.get_submodule(path).load_state_dict(model.get_submodule(other).state_dict())

    return broken


def all_of(*breaks: Break) -> Break:
    def broken(model: Any) -> None:
        for one in breaks:
            one(model)

    return broken
