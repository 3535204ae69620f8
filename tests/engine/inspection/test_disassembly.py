"""The listing of a step: what it holds against an independent recording, its addresses, its windows."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import set_seed

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.regions import Regions
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.disassembly import Disassembler, Instruction
from dap_server.modelmap.addresses import HIGHEST, AddressError, address_text, parse_address, split
from tests.engine.execution.recorded import recorded
from tests.engine.walk import Walk
from tests.models.tiny import VOCABULARY, tiny_model

IDS = torch.randint(3, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(1))
ASKED: dict[str, Any] = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "disable_compile": True}


def listed(
    loaded: Loaded, breakpoint: str, look: Callable[[Disassembler, Stop], None], asked: dict[str, Any] | None = None
) -> None:
    """Calls `look` at every stop of a three-token run."""

    def decide(stop: Stop) -> Motion:
        look(disassembler, stop)
        return Motion.RUN

    walk = Walk(loaded, decide, [breakpoint])
    disassembler = Disassembler(walk.anatomy, walk.stepper.regions)
    walk.generate(**{**(asked or ASKED), "max_new_tokens": 3})


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "qwen3", "opt"])
@pytest.mark.parametrize(
    "place", ["*.layers.1", "*.h.1", "lm_head", "step", "after:*.0", "aten::mm", "after:aten::bmm"]
)
def test_it_holds_the_operations_of_the_step_in_their_order(kind: str, place: str) -> None:
    model = tiny_model(kind)
    with recorded(model) as calls:
        model.generate(**ASKED, max_new_tokens=3)
    seen = 0

    def look(disassembler: Disassembler, stop: Stop) -> None:
        nonlocal seen
        seen += 1
        rows = disassembler.rows(stop)
        names = [row.text.partition("  ")[0] for row in rows if row.is_operation]
        assert names == [operation.name for operation in calls[stop.place.step]]
        addresses = [row.address for row in rows]
        assert addresses == sorted(set(addresses))
        assert addresses[-1] < HIGHEST
        assert all(row.source is not None for row in rows)
        assert disassembler.rows(stop) is rows, "a listing is made once"

    listed(Loaded(model, None), place, look)
    assert seen or "*" in place or "aten" in place


def test_a_row_shows_shapes_dtypes_and_the_line_of_the_model(atlas: Loaded) -> None:
    def look(disassembler: Disassembler, stop: Stop) -> None:
        rows = [row for row in disassembler.rows(stop) if row.symbol == "model.layers.2.mlp.gate_proj"]
        assert [row.text for row in rows] == [
            "enter Linear",
            "aten::t  f32[512,192] → f32[192,512]",
            "aten::view  f32[1,6,192] [6,192] → f32[6,192]",
            "aten::mm  f32[6,192] f32[192,512] → f32[6,512]",
            "aten::_unsafe_view  f32[6,512] [1,6,512] → f32[1,6,512]",
            "leave Linear",
        ]
        for row in rows[1:-1]:
            assert row.source is not None
            assert row.source.path.endswith("modeling_llama.py")
            assert "self.gate_proj(x)" in linecache.getline(*row.source)

    asked = dict(atlas.tokenizer("The capital of France is", return_tensors="pt"))
    listed(atlas, "logits", lambda d, stop: look(d, stop) if stop.place.step == 0 else None, asked)


def test_addresses_are_the_same_in_every_run_and_step(atlas: Loaded) -> None:
    seen: list[dict[str, int]] = []

    def look(disassembler: Disassembler, stop: Stop) -> None:
        rows = [row for row in disassembler.rows(stop) if row.symbol == "model.layers.3.mlp"]
        seen.append({row.text.partition("  ")[0]: row.address for row in rows})

    for text in ("The capital of France is", "one two three"):
        asked = dict(atlas.tokenizer(text, return_tensors="pt"))
        listed(atlas, "*.layers.4", look, asked)
    assert len(seen) == 6
    assert all(rows == seen[0] for rows in seen)
    assert len(seen[0]) > 2


def test_a_window_has_exactly_the_rows_that_are_asked_for(atlas: Loaded) -> None:
    def look(disassembler: Disassembler, stop: Stop) -> None:
        rows: list[Instruction | None] = list(disassembler.rows(stop))
        for i in (0, 1, len(rows) // 2, len(rows) - 1):
            row = rows[i]
            assert row is not None
            window = disassembler.window(stop, row.address, -200, 400)
            assert window[200] is row
            padded = [None] * 200 + rows + [None] * 400
            assert window == padded[i : i + 400]
        assert disassembler.window(stop, HIGHEST, 0, 3) == [None] * 3
        assert disassembler.window(stop, 0, 0, 2) == rows[:2]

    asked = dict(atlas.tokenizer("one two", return_tensors="pt"))
    listed(atlas, "*.layers.4", lambda d, stop: look(d, stop) if stop.place.step == 0 else None, asked)


@pytest.mark.parametrize("kind", ["mixtral", "mamba", "t5", "zamba2"])
def test_a_listing_changes_nothing_and_keeps_its_order_for_every_kind_of_model(kind: str) -> None:
    model = tiny_model(kind)
    asked = {**ASKED, "do_sample": True, "max_new_tokens": 4}
    set_seed(5)
    expected = model.generate(**asked)
    counts: list[int] = []

    def decide(stop: Stop) -> Motion:
        if stop.generation.tape is None:
            return Motion.RUN  # an encoder, before the first step
        rows = disassembler.rows(stop)
        counts.append(sum(row.is_operation for row in rows))
        addresses = [row.address for row in rows]
        assert addresses == sorted(set(addresses))
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, ["**.0", "sample"])
    disassembler = Disassembler(walk.anatomy, walk.stepper.regions)
    set_seed(5)
    assert torch.equal(walk.generate(**asked), expected)
    assert min(counts) > 10


def test_regions_follow_the_order_in_which_forward_calls(atlas: Loaded) -> None:
    regions = Regions(Anatomy(atlas.model))
    layer = "model.layers.2"
    order = [
        (layer, "before"),
        (f"{layer}.input_layernorm", "before"),
        (f"{layer}.self_attn", "before"),
        (f"{layer}.self_attn.o_proj", "after"),
        (f"{layer}.post_attention_layernorm", "after"),
        (f"{layer}.mlp.gate_proj", "before"),
        (f"{layer}.mlp.act_fn", "before"),
        (f"{layer}.mlp.up_proj", "before"),
        (f"{layer}.mlp.down_proj", "before"),
        (layer, "after"),
        ("model.norm", "before"),
        ("lm_head", "after"),
        ("", "after"),
    ]
    addresses = [regions.address(path, phase) for path, phase in order]  # type: ignore[arg-type]  # literals
    assert addresses == sorted(addresses)
    for (path, phase), address in zip(order, addresses, strict=True):
        assert regions.at(address + 3) == (path, phase, 3)
    assert regions.at(0) is None
    assert regions.at(addresses[-1] + (1 << 20)) is None


def test_addresses_are_written_and_read() -> None:
    assert parse_address(address_text(12345)) == 12345
    assert parse_address("12345", 5) == 12350
    assert split(parse_address("0x300002")) == (3, 2)
    for wrong in ("", "main", "0x", "-5", str(2**53), "1.5"):
        with pytest.raises(AddressError):
            parse_address(wrong)
