"""Stops at lines of Python, where the code of a test says `here()`, as a Python debugger makes them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

from torch import nn

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.activations import live_activations
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Stepper, Stop
from dap_server.engine.inspection.evaluation import Evaluator
from dap_server.engine.inspection.frames import CallStack, Frame
from dap_server.engine.inspection.rows import Row
from dap_server.engine.inspection.scopes import Scopes
from dap_server.modelmap.places import STEP, Place


class Lines:
    """What is looked at where a thread stands at a line; without a model before one was called."""

    def __init__(self, model: nn.Module | None = None, just_my_code: bool = True) -> None:
        self.loaded = Loaded(model or nn.Module(), None)
        self.anatomy = Anatomy(self.loaded.model)
        self.vocabulary = Vocabulary(None)
        self.stepper = Stepper(self.anatomy, lambda _stop: None)
        self.scopes = Scopes(self.anatomy, self.vocabulary)
        self.evaluator = Evaluator(self.anatomy, None, self.scopes.locals)
        self.look: Callable[[Stop], None] = lambda _stop: None
        self.stops: list[Stop] = []
        self._just_my_code = just_my_code

    def here(self) -> None:
        """The line that calls it is where the thread stands."""
        frame = sys._getframe(1)
        stop = self.stop_at(frame)
        self.stops.append(stop)
        self.look(stop)

    def stop_at(self, frame: FrameType) -> Stop:
        activations = live_activations(frame)
        path = next((p for a in activations if (p := self.anatomy.path_of(a.module)) is not None), None)
        place, generation = Place(0, STEP if path is None else path), Generation()
        return Stop(place, "breakpoint", [], activations, generation, thread=threading.get_ident(), python=frame)

    def stack(self, stop: Stop) -> list[Frame]:
        return CallStack(stop, self.stepper, self.vocabulary, 0, just_my_code=self._just_my_code).page(0, None)

    def rows(self, frame: Frame, scope: str = "Locals") -> dict[str, Row]:
        (found,) = [one for one in self.scopes.of(frame) if one.name == scope]
        return {row.name: row for row in found.children.named_rows()}
