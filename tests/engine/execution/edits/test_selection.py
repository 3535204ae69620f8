"""Which elements of a value an edit means, in the prefill, in a decode step, in a batch with padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dap_server.conditions.data_ids import parse_index
from dap_server.engine.execution.edits.selection import CannotEdit, Selection, StepPositions

PREFILL, DECODE = StepPositions(2, 0, 5), StepPositions(2, 7, 1)


def test_nothing_said_is_everything() -> None:
    assert _marked(Selection(), (2, 5, 4)).all()


def test_a_position_is_the_same_token_in_every_step() -> None:
    late = Selection(positions=(7,))
    assert late.of((2, 5, 4), PREFILL) is None
    assert _marked(late, (2, 1, 4), DECODE).all()
    early = Selection(positions=(3, 1))
    assert _indices(_marked(early, (2, 5, 4)), 1) == [1, 3]
    assert early.of((2, 1, 4), DECODE) is None


def test_position_minus_one_is_the_newest_token_of_every_step() -> None:
    newest = Selection(positions=(-1,))
    assert _indices(_marked(newest, (2, 5, 4)), 1) == [4]
    assert _marked(newest, (2, 1, 4), DECODE).all()


def test_sequences_positions_and_neurons_together_are_where_all_three_meet() -> None:
    marked = _marked(Selection(sequences=(1,), positions=(0, 4), neurons=(2, -1)), (2, 5, 4))
    assert marked.nonzero().tolist() == [[1, 0, 2], [1, 0, 3], [1, 4, 2], [1, 4, 3]]


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 5, 4), 1), ((2, 5, 3, 4), 1), ((2, 3, 5, 4), 2), ((2, 5), 1)], ids=str
)
def test_the_axis_of_positions_is_found_by_its_size(shape: tuple[int, ...], axis: int) -> None:
    marked = _marked(Selection(sequences=(0,), positions=(2,)), shape)
    expected = torch.zeros(shape, dtype=torch.bool)
    expected.select(axis, 2)[0] = True
    assert torch.equal(marked, expected)


def test_tokens_of_all_sequences_in_one_axis_are_told_apart() -> None:
    marked = _marked(Selection(sequences=(1,), positions=(2, 3)), (10, 4))
    assert _indices(marked, 0) == [7, 8]
    assert _indices(_marked(Selection(sequences=(1,)), (10, 4)), 0) == [5, 6, 7, 8, 9]


def test_a_sequence_is_found_where_a_value_has_one_row_for_each() -> None:
    assert _marked(Selection(sequences=(1,), neurons=(3,)), (2, 9)).nonzero().tolist() == [[1, 3]]


def test_an_index_is_counted_anew_in_every_step() -> None:
    last = Selection(index=parse_index("[0, -1, 1:3]"))
    assert _marked(last, (2, 5, 4)).nonzero().tolist() == [[0, 4, 1], [0, 4, 2]]
    assert _marked(last, (2, 1, 4), DECODE).nonzero().tolist() == [[0, 0, 1], [0, 0, 2]]


@pytest.mark.parametrize(
    ("selection", "shape", "text"),
    [
        (Selection(sequences=(2,)), (2, 5, 4), "no sequences 2: there are 2, counted from 0"),
        (Selection(neurons=(4,)), (2, 5, 4), "no neurons 4: there are 4"),
        (Selection(positions=(1,)), (3, 4), "shape 3, 4 has no axis of positions"),
        (Selection(neurons=(0,)), (), "a single number has no neurons"),
        (Selection(index=(0, 7)), (2, 5, 4), r"\[0, 7\] is not in a value of shape 2, 5, 4"),
        (Selection(index=(0, slice(5, 9))), (2, 5, 4), r"\[0, 5:9\] selects nothing"),
        (Selection(index=(0, 0, 0, 0)), (2, 5, 4), "too many indices"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(selection: Selection, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(CannotEdit, match=text):
        selection.of(shape, PREFILL)


def test_a_selection_has_to_make_sense() -> None:
    with pytest.raises(CannotEdit, match="name no sequences, positions or neurons beside it"):
        Selection(positions=(1,), index=(0,))
    with pytest.raises(CannotEdit, match="no positions are named: leave them out"):
        Selection(positions=())
    with pytest.raises(CannotEdit, match="neurons are named twice: 3, 3"):
        Selection(neurons=(3, 3))


def test_it_is_said_in_words() -> None:
    assert str(Selection()) == ""
    assert str(Selection(sequences=(0,), positions=(3, 4))) == " at sequence 0, positions 3, 4"
    assert str(Selection(index=(0, -1, slice(None)))) == "[0, -1, :]"


def _marked(selection: Selection, shape: tuple[int, ...], step: StepPositions = PREFILL) -> Tensor:
    """Which elements are meant, by writing there."""
    index = selection.of(shape, step)
    assert index is not None
    marks = torch.zeros(shape, dtype=torch.bool)
    assert marks[index].numel()
    marks[index] = True
    return marks


def _indices(marked: Tensor, axis: int) -> list[int]:
    """Of an axis, in which something is marked."""
    return sorted(set(marked.nonzero()[:, axis].tolist()))
