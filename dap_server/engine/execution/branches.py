"""The futures of one run: from a step on it went another way, and what it was before is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dap_server.engine.execution.edits.edit import Edit
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.outcomes import Outcomes
from dap_server.modelmap.places import Place
from dap_server.protocol.errors import RequestError

if TYPE_CHECKING:
    from dap_server.engine.execution.generation import StepRecord


SHOWN = 40
"""Characters of a prompt in the name of its branch."""


class NoSuchBranch(RequestError):
    """There is no branch of that number, or it cannot be deleted; the text says why."""

    id = 58


@dataclass
class Branch:
    """One way that a run goes or went.

    Attributes:
        id: counts from 1, which is the run without edits in its past.
        parent: the branch that it left, None for the first.
        fork_step: the first step that is not its parent's.
        records: of its steps, those that it shares with its parent too.
        left: where it stood when the run went to another branch; None while it never has.
        ordinal: of the operation that this place is, in its step; 0 when it is none.
    """

    id: int = 1
    name: str = "branch 1"
    parent: int | None = None
    fork_step: int = 0
    edits: Edits = field(default_factory=Edits)
    records: list[StepRecord] = field(default_factory=list)
    left: Place | None = None
    ordinal: int = 0


@dataclass(frozen=True)
class Turn:
    """From the start of a step on the run goes by the edits of a branch, which is the present one then.

    Attributes:
        step: that begins by them; the run has come to it.
        left: where the run stands before, and `ordinal` which operation of its step that is.
        begins_anew: the branch has another prompt, so its call begins with that, at step 0.
    """

    branch: Branch
    edits: Edits
    step: int
    left: Place
    ordinal: int = 0
    begins_anew: bool = False


class Branches:
    """The tree of one run, and where in it the run is."""

    def __init__(self, present: Branch | None = None) -> None:
        self.present = present or Branch()
        self.outcomes = Outcomes()
        """Of the edits of the present branch, since it is that."""
        self._all = {self.present.id: self.present}
        self._last_id = 1
        self._last_edit = 0

    @property
    def all(self) -> list[Branch]:
        """By their numbers."""
        return [self._all[id] for id in sorted(self._all)]

    def of(self, id: int) -> Branch:
        """Raises NoSuchBranch."""
        if id not in self._all:
            raise NoSuchBranch(f"there is no branch {id}: there {_counted(list(self._all))}")
        return self._all[id]

    def numbered(self, edits: Iterable[Edit]) -> list[Edit]:
        """New edits, with numbers that no other of this run has."""
        found = []
        for edit in edits:
            self._last_edit += 1
            found.append(replace(edit, id=self._last_edit))
        return found

    def turn_by(self, edits: Edits, here: Place) -> Turn | None:
        """How the run goes on with other edits; None where that changes no step.

        A branch whose future is known is kept, and another one begins, unless there is one that has these edits. So
        it is with one of another prompt.
        """
        present = self.present
        step, begins_anew = present.edits.first_difference(edits), present.edits.prompts != edits.prompts
        if step is None:
            return None
        if len(present.records) <= step and here.step <= step and not begins_anew:
            return Turn(present, edits, step, here)
        begins = min(step, here.step)  # the run may have gone back before what changes
        for branch in self._all.values():
            if branch.edits.first_difference(edits) is None:
                return Turn(branch, edits, begins, here, begins_anew=begins_anew)
        self._last_id += 1
        name = f"branch {self._last_id}"
        if begins_anew and edits.prompts:
            name += f": {_shown(edits.prompts[-1].text)}"
        new = Branch(self._last_id, name, present.id, step, edits, present.records[:step])
        return Turn(new, edits, begins, here, begins_anew=begins_anew)

    def settle(self, edits: Edits, here: Place, is_own_loop: bool) -> Turn | None:
        """The same; where it changes nothing that has run, the present branch has them at once.

        Raises:
            CannotEdit: another loop than ours decodes, and tells nothing of what an edit is about.
        """
        if not is_own_loop:
            edits.require_modules_only()
        turn = self.turn_by(edits, here)
        is_later = turn is not None and turn.branch is self.present and turn.step > here.step
        if turn is None or (is_later and is_own_loop):
            self.present.edits = edits
            return None
        return turn

    def turn_to(self, branch: Branch, here: Place) -> Turn:
        """How the run goes on to where it left another branch."""
        difference = self.present.edits.first_difference(branch.edits)
        steps = (difference, branch.left.step if branch.left else None, here.step)
        begins_anew = self.present.edits.prompts != branch.edits.prompts
        return Turn(branch, branch.edits, min(s for s in steps if s is not None), here, begins_anew=begins_anew)

    def take(self, turn: Turn) -> None:
        """The run stands at the start of the step, and the edits until there are those of the branch."""
        if turn.branch is not self.present:
            self.present.left, self.present.ordinal = turn.left, turn.ordinal
        self.present = self._all[turn.branch.id] = turn.branch
        self.present.edits = turn.edits
        self.outcomes = Outcomes()

    def supposing(self, edits: Edits) -> Branches:
        """The same run with other edits, to look at."""
        return Branches(replace(self.present, edits=edits))

    def drop_edits(self) -> None:
        """The run goes on without any."""
        self.present.edits = Edits()

    def delete(self, id: int) -> None:
        """Forgets a branch; those that left it are children of its parent then.

        Raises:
            NoSuchBranch: the run is in it.
        """
        branch = self.of(id)
        if branch is self.present:
            raise NoSuchBranch(f"branch {id} is the present one: switch to another before you delete it")
        del self._all[id]
        for other in self._all.values():
            if other.parent == id:
                other.parent, other.fork_step = branch.parent, min(other.fork_step, branch.fork_step)


def _shown(prompt: str) -> str:
    """In a name."""
    text = " ".join(prompt.split())
    return repr(text if len(text) <= SHOWN else f"…{text[1 - SHOWN :]}")


def _counted(ids: list[int]) -> str:
    return f"is only {ids[0]}" if len(ids) == 1 else f"are {', '.join(map(str, sorted(ids)))}"
