"""Small configurations of transformers' architectures."""

from __future__ import annotations

from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig

from tests.models.exceptions import EXCEPTIONS
from tests.models.sizes import FIXED, size_of

KEPT = ("is_decoder", "add_cross_attention")
"""What makes a configuration that of a decoder."""


def small_config(model_type: str, changes: dict[str, Any], causal: bool) -> PretrainedConfig:
    """The smallest configuration of a type that still has all its kinds of layers, with the changes asked for."""
    kind = CONFIG_MAPPING[model_type]
    usual = kind()
    if causal and "is_decoder" in vars(usual):
        usual.is_decoder = True
    config = kind(**_small(usual) | changes)
    assert isinstance(config, PretrainedConfig)
    return config


def _small(config: Any) -> dict[str, Any]:
    """Arguments that make a configuration small: what has a name in the tables, and the kinds of its layers."""
    small: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            small[name] = type(value)(**_small(value))
        elif name in KEPT:
            small[name] = value
        elif name in FIXED:
            small[name] = FIXED[name]
        elif type(value) is int and (size := size_of(name)) is not None:
            small[name] = min(size, value)
    if "kv_lora_rank" in small and "num_key_value_heads" in small:
        small["num_key_value_heads"] = size_of("num_attention_heads")
    special = EXCEPTIONS.get(config.model_type, {})
    kinds = special.get("layer_types", special.get("layers_block_type"))
    number = {} if kinds is None else {"num_hidden_layers": len(kinds)}
    return small | _layers(config) | number | special


def _layers(config: Any) -> dict[str, Any]:
    """What is said of every layer, for the first layer of every kind, and their number."""
    number = getattr(config, "num_hidden_layers", None)
    said = {name: value for name, value in vars(config).items() if _is_said_of_layers(value, number)}
    if not said:
        return {}
    first: dict[Any, int] = {}
    for layer, kind in enumerate(zip(*said.values(), strict=True)):
        first.setdefault(kind, layer)
    kept = list(first.values()) if len(first) > 1 else [0, 1]
    small = {name: [_least(name, value[layer]) for layer in kept] for name, value in said.items()}
    return {**small, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"): len(kept)}


def _is_said_of_layers(value: Any, number: int | None) -> bool:
    """Whether it is a list of kinds, sizes or flags of layers, rather than a list of some layers' numbers."""
    if not isinstance(value, list | tuple) or len(value) != number or len(value) < 2:
        return False
    return all(isinstance(one, str | int | float | None) for one in value) and len(set(value)) < len(value)


def _least(name: str, value: Any) -> Any:
    size = size_of(name)
    return value if size is None or type(value) is not int else min(size, value)
