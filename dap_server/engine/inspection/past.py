"""What has been, looked at by running it again: inputs and outputs of past module calls, choices of past tokens.

Every replay happens at most once a stop, when somebody opens what it shows; again when the model has been written to.
"""

from __future__ import annotations

from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.final_locals import FinalLocals, FinalLocalsProbe
from dap_server.engine.execution.generation import Selection
from dap_server.engine.execution.probes import Captured, LastCallProbe
from dap_server.engine.execution.stepping import Stop


class Past:
    """The past of one stop."""

    def __init__(self) -> None:
        self._stop: Stop | None = None
        self._calls: dict[tuple[int, str], Captured | None] = {}
        self._selections: dict[int, Selection | None] = {}
        self._locals: dict[tuple[int, str], FinalLocals | None] = {}

    def call(self, stop: Stop, step: int, path: str) -> Captured | None:
        """The last call of a module in a past step, or before here in the present one; None when there is none."""
        self._only(stop)
        if (step, path) not in self._calls:
            is_present = step == stop.place.step and stop.activations
            probe = LastCallProbe(path, stop.activations[0] if is_present else None)
            if stop.generation.tape is not None:
                stop.generation.tape.replay(step, probe)
            self._calls[step, path] = probe.found
        return self._calls[step, path]

    def selection(self, stop: Stop, step: int) -> Selection | None:
        """The choice of a past step's token."""
        self._only(stop)
        if step not in self._selections:
            tape = stop.generation.tape
            self._selections[step] = tape.replay(step) if tape is not None else None
        return self._selections[step]

    def locals(self, stop: Stop, step: int, path: str, running: Activation | None) -> FinalLocals | None:
        """Local names of a module's `forward` as it returned: of a call that is still on the stack, or as in `call`."""
        self._only(stop)
        if (step, path) not in self._locals:
            is_present = step == stop.place.step and stop.activations
            probe = FinalLocalsProbe(path, running or (stop.activations[0] if is_present else None))
            try:
                if stop.generation.tape is not None:
                    stop.generation.tape.replay(step, probe)
            finally:
                probe.close()
            self._locals[step, path] = probe.found
        return self._locals[step, path]

    def known_locals(self, stop: Stop, step: int, path: str) -> FinalLocals | None:
        """The same, if they have been looked at already."""
        self._only(stop)
        return self._locals.get((step, path))

    def _only(self, stop: Stop) -> None:
        """Forgets what belongs to another stop: its tensors would stay in memory."""
        if stop is not self._stop:
            self._stop = stop
            self.forget()

    def forget(self) -> None:
        """What runs again may come out differently from now on: somebody has written to the model."""
        self._calls.clear()
        self._selections.clear()
        self._locals.clear()
