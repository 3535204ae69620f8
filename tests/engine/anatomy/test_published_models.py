"""Maps of well-known models at their full size, made without weights."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from transformers import CONFIG_MAPPING

from dap_server.engine.anatomy.mapping import map_of_config
from dap_server.engine.anatomy.tasks import Task
from dap_server.modelmap.text import ModelMap, differences, read_map, rounded_flops, write_map
from tests.models.published import PUBLISHED, Published

QUICK = ["Llama-3.1-405B", "Mixtral-8x7B", "BERT-large"]


def made(published: Published, name: str) -> ModelMap:
    config = CONFIG_MAPPING[published.model_type](**published.options)
    return map_of_config(config, name, Task[published.task.upper()])


def check(name: str) -> ModelMap:
    published = PUBLISHED[name]()
    assert agree(published.parameters, published.billions)
    model_map = made(published, name)
    assert model_map.order == ""
    assert model_map.parameters == published.parameters
    text = write_map(model_map)
    read = read_map(text)
    assert not read.problems
    assert not differences(read, model_map)
    assert write_map(replace(model_map, lines=list(read.lines.values()))) == text
    assert list(read.lines.values()) == model_map.lines
    assert len({line.path for line in model_map.lines}) == len(model_map.lines)
    return model_map


def agree(parameters: int, published: float) -> bool:
    """To the last parameter where it is published so, else to the digits in which it was announced."""
    if published > 1e6:
        return parameters == published
    digits = len(str(published).partition(".")[2])
    return math.isclose(round(parameters / 1e9, digits), published)


@pytest.mark.parametrize("name", QUICK)
def test_the_map_of_a_large_model(name: str) -> None:
    check(name)


@pytest.mark.sweep
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_map_of_every_published_model(name: str) -> None:
    check(name)


def test_operations_per_token_are_twice_the_weights_that_a_token_meets() -> None:
    lines = {line.path: line for line in made(PUBLISHED["Mixtral-8x7B"](), "").lines}
    experts = lines["model.layers.0.mlp.experts"]
    two_of_eight = 2 * 2 * 3 * 4096 * 14336
    assert experts.flops == rounded_flops(two_of_eight)
    assert lines["lm_head"].flops == rounded_flops(2 * 4096 * 32000)
