"""Which elements of attention an edit means, and what it makes of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from dap_server.engine.execution.attention.text import AttentionText
from dap_server.engine.execution.edits.changes import Change, Moment
from dap_server.engine.execution.edits.edit import AttentionValue
from dap_server.engine.execution.edits.selection import CannotEdit, Index, StepPositions, members, open_index


def changed(
    target: AttentionValue, change: Change, value: Tensor, text: AttentionText, moment: Moment
) -> Tensor | None:
    """What an edit makes of a value: (B, T, H, d) of `heads`, else (B, H, T, S). None where it has nothing of it.

    Args:
        text: which tokens stand behind the axes.

    Raises:
        CannotEdit: it makes no sense for attention of this shape.
    """
    index = _index(target, value.shape, text)
    if index is None:
        return None
    if target.value == "pattern" and change.kind in ("freeze", "patch"):
        if change.tensor is None or change.tensor.dim() != 4:
            raise CannotEdit("a frozen pattern is a tensor (B, H, T, S): sequences, heads, queries, keys")
        put = pattern_in_place(change.tensor, value, text)
        change = replace(change, tensor=put[index])
    return change.applied(value, index, moment)


def _index(target: AttentionValue, shape: torch.Size, text: AttentionText) -> Index | None:
    """None where nothing of it is in this step."""
    at_heads = target.value == "heads"
    batch, heads, queries = (shape[0], shape[2], shape[1]) if at_heads else (shape[0], shape[1], shape[2])
    chosen: dict[int, list[int]] = {}
    if target.sequences is not None:
        chosen[0] = members(target.sequences, batch, "sequences")
    if target.heads is not None:
        chosen[2 if at_heads else 1] = members(target.heads, heads, "heads")
    if target.queries is not None:
        rows = StepPositions(batch, text.first_query, queries).indices_of(target.queries)
        chosen[1 if at_heads else 2] = rows
    if target.keys is not None:
        if at_heads:
            raise CannotEdit("what heads give has no keys: name them for a pattern, or for scores")
        known = text.known_keys or shape[3]
        chosen[3] = StepPositions(batch, text.first_key, known).indices_of(target.keys)
    return None if any(not part for part in chosen.values()) else open_index(shape, chosen)


def pattern_in_place(source: Tensor, value: Tensor, text: AttentionText) -> Tensor:
    """A pattern of another moment as it is put in the place of one (B, H, T, S).

    Rows: as many of them go in their order; where this step has one query, it looks where the last row did. Columns are
    positions of the text: keys that were not there then get nothing; the share of those that are not here now is spread
    over the others of its row in proportion, so that the row keeps its sum.

    Args:
        source: (B or 1, H, T', P) whose column p is position p of its text.

    Raises:
        CannotEdit: other sequences or heads, rows that do not fit, or a row of which nothing is left.
    """
    batch, heads, queries, keys = value.shape
    if source.shape[0] not in (1, batch) or source.shape[1] != heads:
        raise CannotEdit(f"the pattern is of {_size(source)}, and here are {batch} × {heads}")
    if queries == 1:
        source = source[:, :, -1:]
    if source.shape[2] != queries:
        raise CannotEdit(f"the pattern has {source.shape[2]} queries, and this step {queries}")
    source = source.to(value.device).double()
    known, first = text.known_keys or keys, text.first_key
    here = nn.functional.pad(source, (0, max(first + known - source.shape[3], 0)))[..., first : first + known]
    before, left = source.sum(-1, keepdim=True), here.sum(-1, keepdim=True)
    if bool(((left <= 0) & (before > 0)).any()):
        raise CannotEdit("none of the keys that the pattern looks at is here any more")
    spread = torch.where(left == before, here, here * (before / left).nan_to_num())
    return nn.functional.pad(spread, (0, keys - known)).to(value.dtype).expand(value.shape)


def pattern_by_position(weights: Tensor, text: AttentionText) -> Tensor:
    """(B, H, T, P) of a pattern (B, H, T, S): a column for each position of the text, for `pattern_in_place`."""
    known = text.known_keys or weights.shape[3]
    return nn.functional.pad(weights[..., :known].nan_to_num(), (text.first_key, 0))


def _size(source: Tensor) -> str:
    return f"{source.shape[0]} sequences × {source.shape[1]} heads"
