"""Exceptions that nobody catches: the program stands once more before they end it, or one of its threads.

The stack is over then, and the traceback still has it: its frames are looked at, among them those of a model's modules.
Afterwards the program ends as it would have ended.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from dap_server.engine.execution.activations import activations_in
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.reasons import RAISED
from dap_server.engine.execution.stepping import Stepper
from dap_server.engine.execution.stops import Interruption, Stop, Uncaught
from dap_server.engine.inspection.python_frames import of_traceback
from dap_server.engine.inspection.rows import reason
from dap_server.engine.inspection.threads import is_hidden
from dap_server.engine.inspection.tracebacks import leave_out_ours
from dap_server.modelmap.places import STEP, Place

_ENDS = (SystemExit, KeyboardInterrupt, GeneratorExit, Interruption)
"""How a program ends that has not gone wrong."""


class UncaughtExceptions:
    """Stands in Python's two hooks for them. What was in there is called afterwards."""

    def __init__(self, stands: Callable[[Uncaught], None]) -> None:
        """`stands` parks the calling thread until somebody goes on."""
        self.is_wanted = False
        self._stands = stands
        self._pid = os.getpid()
        self._is_installed = False
        self._shown: tuple[int, type[BaseException]] | None = None
        self._previous: tuple[Any, Any] | None = None

    def install(self) -> None:
        """From now on it stops there, while it is wanted."""
        if self._is_installed:
            return
        self._is_installed, self._previous = True, (sys.excepthook, threading.excepthook)
        sys.excepthook, threading.excepthook = self._of_program, self._of_thread

    def remove(self) -> None:
        """As it was; a hook that somebody has set in front of ours calls it in vain."""
        if not self._is_installed or self._previous is None:
            return
        self._is_installed = False
        if sys.excepthook == self._of_program:
            sys.excepthook = self._previous[0]
        if threading.excepthook == self._of_thread:
            threading.excepthook = self._previous[1]

    def shown(self, error: BaseException) -> None:
        """The run has stopped where this one was raised: nobody needs to see it twice."""
        self._shown = id(error), type(error)

    def _of_program(self, kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
        self.stop_at(error)
        assert self._previous is not None
        self._previous[0](kind, error, error.__traceback__)

    def _of_thread(self, args: Any) -> None:
        if args.exc_value is not None and (args.thread is None or not is_hidden(args.thread)):
            self.stop_at(args.exc_value)
            args = threading.ExceptHookArgs((args.exc_type, args.exc_value, args.exc_value.__traceback__, args.thread))
        assert self._previous is not None
        self._previous[1](args)

    def stop_at(self, error: BaseException) -> None:
        """Nobody will catch it: stops, unless it has been looked at already."""
        leave_out_ours(error)
        if not self.is_wanted or not self._is_installed or os.getpid() != self._pid or isinstance(error, _ENDS):
            return
        if self._shown != (id(error), type(error)):
            self.shown(error)
            self._stands(Uncaught(error, error.__traceback__))


def stop_of(stepper: Stepper, uncaught: Uncaught) -> Stop:
    """The stop of this thread, with the modules that the exception has left. What they ran in cannot run again."""
    found = activations_in(one.frame for one in of_traceback(uncaught.traceback))
    activations = [one for one in found if stepper.anatomy.path_of(one.module) is not None]
    generation = replace(stepper.generation, tape=None) if activations else Generation()
    path = stepper.anatomy.path_of(activations[0].module) if activations else None
    place = Place(generation.step, STEP if path is None else path)
    return Stop(
        place, RAISED, [], activations, generation,
        about=reason(uncaught.error), thread=threading.get_ident(), uncaught=uncaught,
    )  # fmt: skip
