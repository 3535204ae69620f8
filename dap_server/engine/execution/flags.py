"""What a run that is under way carries along: how it is to be unwound, and how often it has been at each place."""

from __future__ import annotations

from dataclasses import dataclass, field

from dap_server.engine.execution.stops import Interruption
from dap_server.modelmap.places import PSEUDO_MODULES, Phase


@dataclass
class Flags:
    """The model thread reads them at its next event.

    Attributes:
        interruption: set by other threads, to be raised in the model thread.
        occurrences: how often each place of this step has begun, less one.
    """

    interruption: Interruption | None = None
    occurrences: dict[str, int] = field(default_factory=dict)

    def raise_interruption(self) -> None:
        if self.interruption is not None:
            interruption, self.interruption = self.interruption, None
            try:
                raise interruption
            finally:
                del (
                    interruption
                )  # else it and this frame would hold each other, and the frames of a run that is unwound

    def occurrence_of(self, path: str) -> int:
        """Which call of a module is under way in this step; 0 where nobody has counted."""
        return self.occurrences.get(path, 0)

    def occurrence_at(self, name: str, phase: Phase) -> int:
        """Counts: two logits processors may be of one class; the other pseudo-modules come once a step."""
        if name in PSEUDO_MODULES:
            return 0
        if phase == "before":
            self.occurrences[name] = self.occurrences.get(name, -1) + 1
        return self.occurrences.get(name, 0)
