"""Attention as small pictures: what is left of large matrices, and the numbers beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, eager_attention_forward

from dap_server.engine.analysis.attention import weights
from dap_server.engine.analysis.attention.heads import Tally
from dap_server.engine.analysis.attention.tiles import head_tiles
from dap_server.engine.analysis.attention.weights import DispatchedCall, Rows
from dap_server.engine.execution import memory
from dap_server.engine.execution.attention.text import AttentionText
from dap_server.engine.execution.memory import NotEnoughMemory
from dap_server.engine.inspection.tensors.tiles import Tile
from dap_server.protocol.errors import Cancelled

HEADS, LENGTH = 6, 37


@pytest.fixture
def call() -> DispatchedCall:
    """A prefill of two texts, the second one with four tokens of padding."""
    config = LlamaConfig(hidden_size=48, num_attention_heads=HEADS, num_key_value_heads=3, head_dim=8)
    torch.manual_seed(0)
    ids = torch.randint(0, 9, (2, LENGTH))
    mask = torch.ones(2, 1, LENGTH, LENGTH, dtype=torch.bool).tril()
    mask[1, :, :, :4] = False
    return DispatchedCall(
        module=LlamaAttention(config, 0),
        kernel="sdpa",
        text=AttentionText(query_ids=ids, key_ids=ids, known_keys=LENGTH, starts=torch.tensor([0, 4])),
        query=torch.randn(2, HEADS, LENGTH, 8),
        key=torch.randn(2, 3, LENGTH, 8),
        value=torch.randn(2, 3, LENGTH, 8),
        mask=mask,
        options={"scaling": 0.6},
        eager=eager_attention_forward,
        is_eager=False,
    )


def numbers(tile: Tile) -> Tensor:
    return torch.tensor(np.frombuffer(tile.data, "<f4").copy()).reshape(tile.shape)


@pytest.mark.parametrize("at_once", [1, 5, 1000])
@pytest.mark.parametrize("cells", [10_000, 300, 64, 7, 1])
def test_a_cell_is_the_largest_of_what_it_stands_for(
    call: DispatchedCall, cells: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "CHUNK_BYTES", 4 * HEADS * LENGTH * at_once)
    rows, keys = range(3, 30), range(5, LENGTH)
    for sequence in range(2):
        whole = call.weights(sequence)
        for made in head_tiles(call, sequence, [4, 0], rows, keys, cells, "float32"):
            matrix = whole[made.head, rows.start : rows.stop, keys.start : keys.stop].nan_to_num(-1)
            down, across = made.weights.blocks
            shown = numbers(made.weights)
            assert shown.numel() <= cells
            for i in range(shown.shape[0]):
                for j in range(shown.shape[1]):
                    block = matrix[i * down : (i + 1) * down, j * across : (j + 1) * across].max()
                    assert (shown[i, j].isnan() and block < 0) or torch.isclose(shown[i, j], block, atol=1e-6)


def test_numbers_are_those_of_the_rows_asked_for_whatever_the_pieces(
    call: DispatchedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = range(10, 31)
    together = head_tiles(call, 1, range(HEADS), rows, range(LENGTH), 50, "uint8")
    monkeypatch.setattr(weights, "CHUNK_BYTES", 1)
    for one, other in zip(together, head_tiles(call, 1, range(HEADS), rows, range(LENGTH), 50, "uint8"), strict=True):
        assert one.summary.scores == pytest.approx(other.summary.scores, abs=1e-6)
        assert one.summary.entropy == pytest.approx(other.summary.entropy, abs=1e-6)
        assert one.weights.data == other.weights.data


def test_the_numbers_of_a_head_are_worked_out_by_hand(call: DispatchedCall) -> None:
    """In float64, key by key, from the definitions."""
    sequence, start = 1, 4
    assert call.text.key_ids is not None
    ids, weights = call.text.key_ids[sequence].tolist(), call.weights(sequence).double()
    for made in head_tiles(call, sequence, range(HEADS), range(LENGTH), range(LENGTH), 100, "float16"):
        entropy, first, distance = [], [], []
        scores: dict[str, list[float]] = {"previous token": [], "duplicate": [], "induction": [], "sink": []}
        for q in range(start, LENGTH):
            row = weights[made.head, q]
            entropy.append(-sum(float(w) * float(w.log()) for w in row if w > 0))
            distance.append(sum((q - k) * float(row[k]) for k in range(start, q)))
            if q == start:
                continue
            first.append(float(row[start]))
            scores["sink"].append(float(row[start]))
            scores["previous token"].append(float(row[q - 1]))
            same = [k for k in range(start, q) if ids[k] == ids[q]]
            after = [k + 1 for k in same if k + 1 < q]
            if same:
                scores["duplicate"].append(sum(float(row[k]) for k in same))
            if after:
                scores["induction"].append(sum(float(row[k]) for k in after))
        summary = made.summary
        assert summary.entropy == pytest.approx(np.mean(entropy), abs=1e-5)
        assert summary.first == pytest.approx(np.mean(first), abs=1e-6)
        assert summary.distance == pytest.approx(np.mean(distance), abs=1e-4)
        assert summary.scores == pytest.approx({kind: np.mean(values) for kind, values in scores.items()}, abs=1e-6)


def test_a_window_has_its_own_positions(call: DispatchedCall) -> None:
    """The same rows, of which the kernel was given the last eight keys only: kinds are found at the same positions."""
    text = replace(call.text, first_query=LENGTH - 1, first_key=LENGTH - 8, known_keys=8)
    tally = Tally(text, 1, 8, torch.device("cpu"))
    weights = torch.zeros(2, 1, 8)
    weights[0, 0, 6] = 1  # the token before
    weights[1, 0, 0] = 1  # far back, and not the first token
    tally.add(Rows(weights, None), 0)
    before, far = tally.summaries()
    assert (before.kind, before.distance) == ("previous token", 1)
    assert (far.first, far.distance) == (0, 7)
    assert far.scores["sink"] == 0


def test_every_piece_is_a_chance_to_cancel(call: DispatchedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "CHUNK_BYTES", 1)
    pieces = 0

    def report(done: int, total: int) -> None:
        nonlocal pieces
        assert (done, total) == (pieces, LENGTH)
        pieces += 1
        if pieces == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        head_tiles(call, 0, [0], range(LENGTH), range(LENGTH), 64, "float16", report)
    assert pieces == 3


def test_what_does_not_fit_is_refused_with_numbers(call: DispatchedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1000)
    with pytest.raises(NotEnoughMemory, match=r"37 rows of attention over 37 keys would need .* 1.0 kB are free"):
        head_tiles(call, 0, [0], range(LENGTH), range(LENGTH), 64, "float16")
