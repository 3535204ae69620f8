"""A stopped run, and what unwinds one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.operations import Operation
from dap_server.modelmap.places import END, STEP, Place

if TYPE_CHECKING:
    from dap_server.engine.execution.branches import Turn
    from dap_server.engine.execution.breakpoints import Breakpoint
    from dap_server.engine.execution.judging import Candidate
    from dap_server.engine.execution.motions import Motion

NOTHING = object()
"""Stands for the output of a module that has not returned."""


@dataclass(frozen=True)
class Failure:
    """A condition that raised.

    Attributes:
        error: class of what it raised.
        text: the same with its message, and where in the condition.
        condition: as somebody typed it.
        breakpoint: its id.
    """

    error: str
    text: str
    condition: str
    breakpoint: int


class Anomaly(NamedTuple):
    """What a filter has found."""

    breakpoint: Breakpoint
    candidate: Candidate


class Uncaught(NamedTuple):
    """An exception that nobody has caught. Its frames are over; the traceback still has them."""

    error: BaseException
    traceback: TracebackType | None


@dataclass
class Stop:
    """A stopped run.

    Attributes:
        place: where.
        reason: in DAP's words: entry, step, pause, breakpoint, function breakpoint, instruction breakpoint, exception.
        hits: ids of the breakpoints that are hit.
        activations: running module calls, innermost first; the first is the module of the place, if it is one.
        output: of that module, at phase `after`; NOTHING before.
        returned: path and output of the module that was stepped over to come here, or name and result of the operation.
        operation: that the run stands at, inside that module.
        sequence: of the batch, that the stop is about.
        failure: the condition that stopped it by raising.
        anomaly: the place as a filter found it, and that filter's breakpoint.
        about: what has brought the run here, for people, where the reason does not tell.
        error: what the module of the place has raised; its call is over, and its frames are those of the traceback.
        thread: identifier of the thread that stands; 0 where it is the one that is asked.
        python: the Python frame that stands at a line, of a stop by lines. The place is that of the innermost module
            call around it; outside of all calls of a model the generation is an empty one.
        uncaught: what has ended the program or a thread of it, for a look post mortem.
        raised: what Python has raised and not yet passed on, of a stop by lines: debugpy's answer to `exceptionInfo`.
        onwards: how Python goes on from a stop by lines, once it goes on; None where nothing is to stop it.
    """

    place: Place
    reason: str
    hits: list[int]
    activations: list[Activation]
    generation: Generation
    output: Any = NOTHING
    returned: tuple[str, Any] | None = None
    operation: Operation | None = None
    sequence: int = 0
    failure: Failure | None = None
    anomaly: Anomaly | None = None
    error: Exception | None = None
    about: str = ""
    thread: int = 0
    python: FrameType | None = None
    uncaught: Uncaught | None = None
    raised: dict[str, Any] | None = None
    onwards: Motion | None = None

    @property
    def ordinal(self) -> int:
        """Of its operation in the step; 0 when it is at none."""
        return self.operation.site.ordinal if self.operation is not None else 0

    def has_raised(self, error: Exception, step: int) -> bool:
        """Whether it is what a replay of a step raises, too."""
        return self.place.step == step and type(self.error) is type(error)

    def turned(self, turn: Turn, place: Place | None = None, about: str = "") -> Rewind:
        """What unwinds the run to go another way from a step on, and stop at a place; without one where it stands now.

        Where the other way begins earlier, it stops where its first step begins; another prompt may end elsewhere.
        """
        turn = replace(turn, ordinal=self.ordinal)
        if place is not None:
            ordinal = turn.branch.ordinal if place == turn.branch.left else 0
            return Rewind(place, "goto", ordinal, turn=turn, about=about)
        is_end = turn.begins_anew and self.place.path == END and not self.generation.is_forward
        if turn.step < self.place.step or is_end:
            first = Place(turn.step, STEP if self.generation.is_own_loop else "")
            return Rewind(first, "goto", turn=turn, about=about)
        return Rewind(self.place, "goto", self.ordinal, turn=turn, about=about)


class Interruption(BaseException):
    """Unwinds the model thread to the engine's loop. No `except Exception` of a model catches it."""


class Rewind(Interruption):
    """Unwinds the model thread to the owner of the call, which starts again from an earlier step."""

    def __init__(
        self,
        place: Place,
        reason: str,
        ordinal: int = 0,
        is_second_look: bool = False,
        turn: Turn | None = None,
        about: str = "",
    ) -> None:
        """Where to.

        Args:
            ordinal: of the operation in its step, when the place is one.
            is_second_look: the step of the place runs again because something in it was found out late.
            turn: the run goes another way from a step on, which is no later than that of the place.
            about: what has brought the run there, for people.
        """
        super().__init__(f"back to {place}")
        self.place, self.reason, self.ordinal, self.is_second_look = place, reason, ordinal, is_second_look
        self.turn, self.about = turn, about

    @property
    def start(self) -> int:
        """The step that the call starts again from."""
        return self.place.step if self.turn is None else self.turn.step

    @property
    def begins_anew(self) -> bool:
        """Whether the way goes to a call with other inputs, which whoever makes the calls begins."""
        return self.turn is not None and self.turn.begins_anew
