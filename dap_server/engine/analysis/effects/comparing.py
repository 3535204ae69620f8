"""Two branches of a run, step by step: where their texts part, and how far their distributions and values are apart.

Each is run along its own text with its own edits, from the first step that is not the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dap_server.engine.analysis.effects.distributions import Distance, distance
from dap_server.engine.analysis.effects.movement import movement
from dap_server.engine.analysis.effects.running import OTHER_TEXT, StepProbe, padding_before
from dap_server.engine.analysis.lens.residuals import CannotRead, Stream
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.branches import Branch, Branches
from dap_server.engine.execution.generation import Generation, Selection
from dap_server.engine.execution.stage import Stage
from dap_server.modelmap.places import END


@dataclass(frozen=True)
class Chosen:
    """A token that a branch has chosen in a step, and with which probability, after all logits processors."""

    id: int
    probability: float


@dataclass(frozen=True)
class StepPair:
    """One step of both branches.

    Attributes:
        distance: between the distributions of the model's logits.
        chosen: of each branch; None where it has not come to it.
    """

    step: int
    distance: Distance
    chosen: tuple[Chosen | None, Chosen | None]


@dataclass(frozen=True)
class Comparison:
    """Of one sequence in two branches.

    Attributes:
        fork: the first step that is not the same; None if there is none.
        divergence: the first step that chose other tokens; None if no step that both have done did.
        steps: from the fork on, as far as both go.
        paths: of the layers; empty for what goes into the first one.
        positions: of the text, that these steps work on.
        differs: by position, whether another token stands there.
        relative: (L + 1, positions) how far the residual stream is from one branch to the other, relative to the first.
        unread: why there is none of it.
    """

    sequence: int
    fork: int | None
    divergence: int | None
    steps: list[StepPair]
    paths: list[str]
    positions: list[int]
    differs: list[bool]
    relative: Tensor
    unread: str = ""


@dataclass
class _Step:
    """What one step of a branch came to."""

    logits: Tensor  # (V,)
    chosen: int
    stream: Stream | None
    unread: str


def compare(
    generation: Generation, anatomy: Anatomy, first: Branch, second: Branch, sequence: int, stage: Stage
) -> Comparison:
    """Of two branches of a call. On the model thread.

    Raises:
        CannotRead, NotEnoughMemory, Cancelled.
    """
    fork = _fork(first, second, sequence)
    ends = [_end(branch, generation) for branch in (first, second)]
    if fork is None or fork >= min(ends):
        return Comparison(sequence, fork, None, [], [], [], [], torch.zeros(0, 0))
    stage.progress.called("Comparing branches")
    unread = "" if first.edits.prompts == second.edits.prompts else OTHER_TEXT
    runs = []
    for i, branch in enumerate((first, second)):
        with stage.progress.part(i, 2):
            runs.append(_followed(generation, anatomy, branch, range(fork, min(ends)), sequence, unread))
    steps = [
        StepPair(
            fork + i,
            distance(one.logits, other.logits),
            (_chosen(first, fork + i, sequence), _chosen(second, fork + i, sequence)),
        )
        for i, (one, other) in enumerate(zip(*runs, strict=True))
    ]
    divergence = next((pair.step for pair in steps if _has_parted(pair)), None)
    return _with_movement(
        Comparison(sequence, fork, divergence, steps, [], [], [], torch.zeros(0, 0)), runs, generation
    )


def _fork(first: Branch, second: Branch, sequence: int) -> int | None:
    """The first step that is run with other edits, or that chose another token."""
    found = [first.edits.first_difference(second.edits)]
    for step, (one, other) in enumerate(zip(first.records, second.records, strict=False)):
        if int(one.tokens[sequence]) != int(other.tokens[sequence]):
            found.append(step)
            break
    return min((step for step in found if step is not None), default=None)


def _end(branch: Branch, generation: Generation) -> int:
    """How many steps of a branch can be run: those that are done, and the one that it stands in."""
    is_present = branch.id == generation.branches.present.id
    is_over = generation.is_over if is_present else branch.left is not None and branch.left.path == END
    return len(branch.records) + (not is_over)


def _followed(
    generation: Generation, anatomy: Anatomy, branch: Branch, steps: range, sequence: int, unread: str
) -> list[_Step]:
    """Some steps of a branch, run one after another beside the suspended run. `unread`: why no stream is wanted."""
    if generation.tape is None:
        raise CannotRead("there is no call of the model here that could run again")
    probes = {step: StepProbe(anatomy, unread=unread) for step in steps}
    found: list[_Step] = []

    def heard(step: int, selection: Selection) -> None:
        probe = probes.pop(step)
        assert selection.tokens is not None
        stream = probe.stream
        kept = None if stream is None else stream.of_sequence(min(sequence, stream.sequences - 1))
        found.append(_Step(selection.logits[sequence].clone(), int(selection.tokens[sequence]), kept, probe.unread))

    with torch.no_grad():
        generation.tape.follow(steps, Branches(branch), probes.__getitem__, heard)
    return found


def _chosen(branch: Branch, step: int, sequence: int) -> Chosen | None:
    if step >= len(branch.records):
        return None
    record = branch.records[step]
    return Chosen(int(record.tokens[sequence]), float(record.probability[sequence]))


def _has_parted(pair: StepPair) -> bool:
    one, other = pair.chosen
    return one is not None and other is not None and one.id != other.id


def _with_movement(found: Comparison, runs: list[list[_Step]], generation: Generation) -> Comparison:
    """Layers × positions of relative difference, for all steps."""
    columns: list[Tensor] = []
    positions: list[int] = []
    paths: list[str] = []
    try:
        for pair, one, other in zip(found.steps, *runs, strict=True):
            if one.stream is None or other.stream is None:
                raise CannotRead(one.unread or other.unread)
            padding = padding_before(generation, pair.step, found.sequence)
            moved = movement(one.stream, other.stream, 0, padding)
            paths = moved.paths
            columns.append(moved.relative)
            end = generation.prompt_length + pair.step
            positions += range(end - moved.relative.shape[1], end)
    except CannotRead as error:
        return replace(found, unread=str(error))
    texts = {p.step + generation.prompt_length: _has_parted(p) for p in found.steps}
    differs = [texts.get(position, False) for position in positions]
    return replace(found, paths=paths, positions=positions, differs=differs, relative=torch.cat(columns, dim=1))
