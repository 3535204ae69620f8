"""Faults in every layer of the example model and in other matrices, which the thresholds were not chosen with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest

from dap_server.engine.anatomy.loading import Loaded
from tests.faults.breaking import Break, filled, output_scaled, planted, scaled
from tests.faults.corpus import Fault, Found, prompt
from tests.faults.watching import watched


class Kind(NamedTuple):
    """A fault that a layer, by its path, may have, and where the run stops then."""

    name: str
    breaks: Callable[[str], Break]
    filter: str
    where: str


KINDS = [
    Kind(
        "NaN in the values",
        lambda p: planted(f"{p}.self_attn.v_proj.weight", (9, 9), math.nan),
        "nonFinite",
        ".self_attn.v_proj",
    ),
    Kind(
        "NaN in the gate",
        lambda p: planted(f"{p}.mlp.gate_proj.weight", (500, 0), math.nan),
        "nonFinite",
        ".mlp.gate_proj",
    ),
    Kind("the MLP far too large", lambda p: scaled(f"{p}.mlp.down_proj.weight", 1e6), "residual", ""),
    Kind("attention far too large", lambda p: scaled(f"{p}.self_attn.o_proj.weight", 1e6), "residual", ""),
    Kind("almost nothing is left", lambda p: output_scaled(p, 1e-4), "residual", ""),
    Kind("the gate is off", lambda p: filled(f"{p}.mlp.gate_proj.weight", 0), "deadActivations", ".mlp.act_fn"),
    Kind("no keys", lambda p: filled(f"{p}.self_attn.k_proj.weight", 0), "attention", ""),
]


@pytest.mark.sweep
@pytest.mark.parametrize("text", ["The capital of Japan is", "Anna has the lamp. Ben has the cup. Anna has the"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("layer", range(6))
def test_a_fault_is_found_in_whichever_layer_it_is(kind: Kind, layer: int, text: str, atlas: Loaded) -> None:
    path = f"model.layers.{layer}"
    loaded = Fault(kind.name, breaks=kind.breaks(path)).loaded(atlas)
    watch = watched(loaded, prompt(text)(loaded.tokenizer), max_new_tokens=2)
    assert watch.stopped is not None
    assert watch.stopped.found == Found(kind.filter, path + kind.where)
