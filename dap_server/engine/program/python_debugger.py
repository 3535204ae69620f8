"""Lines of Python: what somebody wants to stop at, and how Python goes on from where it stands.

debugpy finds the lines; a stop is ours. When it has suspended a thread, it is asked to evaluate one call of ours there,
which parks the thread as at a place of a model, and does not return until somebody goes on. So one thread-bound request
is on its way for each stop, and everything that is looked at is answered by the code that answers it in a model.

Threads: `place`, `pause` and `detach` are for the dispatcher; what debugpy tells comes on its reader thread; the
rest runs on the program's threads.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from torch import nn

from dap_server.engine.execution.activations import outward
from dap_server.engine.execution.motions import Motion
from dap_server.engine.inspection.python_frames import PythonFrame, below_debugger, is_debugger, is_shown
from dap_server.engine.program.debugpy_peer import OURS, Debugpy, NoPythonDebugger, debugpy_of_process, untraced
from dap_server.engine.program.import_watch import ImportWatch, is_loaded
from dap_server.engine.program.python_lines import Line, LineState, state_of
from dap_server.engine.program.python_stops import PythonStop
from dap_server.protocol.errors import RequestError
from dap_server.wire.reply import Reply

OFF = 'lines of Python are not debugged in this session ("pythonDebugger": false)'
FILTERS = {"python.raised": "raised", "python.userUnhandled": "userUnhandled"}
"""Our filters that are debugpy's, with its names for them."""
MODULES = sys.modules[nn.Module.__module__].__file__ or ""
"""Where torch calls a `forward`, and where we ask what a module is made of: lines of nobody's."""
UNSAID = ("<class 'KeyboardInterrupt'> raised from within the callback", "Frame skipped from debugging during step-in")
"""What debugpy says of a Ctrl+C at a stop, which the program is to see, and of a step on its way to a model."""
NOT_LOADED = "nothing has been loaded from this file; it is debugged from when it is imported"
STEPS = ("step", "goto", "entry")
"""Why debugpy stops where a motion of ours ends; at a line that nobody has asked for it has its reason from us too."""
COMMANDS = {Motion.NEXT: "next", Motion.IN: "stepIn", Motion.OUT: "stepOut"}
SECONDS_TO_LEAVE = 1.0
"""How long an interrupted thread may take until it runs the program again: an exception unwinds what stood there."""


@dataclass
class Options:
    """Of the launch configuration, or of whoever attaches."""

    is_allowed: bool = True
    just_my_code: bool = True
    program: str | None = None
    """The file that is about to run."""


@dataclass
class _Wanted:
    lines: dict[str, list[Line]] = field(default_factory=dict)
    filters: dict[int, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.filters and not any(self.lines.values())


class PythonDebugger:
    """debugpy as this process uses it: there while something needs it, and tracing nothing while nothing does."""

    def __init__(
        self,
        stands: Callable[[PythonStop, FrameType], Motion | None],
        changed: Callable[[LineState], None],
        say: Callable[[str], None],
        logged: Callable[[str, str | None, int | None], None],
    ) -> None:
        """What it is set up with.

        Args:
            stands: parks the calling thread at a stop; returns by what motion of Python it goes on.
            changed: is told what else has become of a line.
            say: is given what people should know.
            logged: is given a log message, with file and line.
        """
        self.options = Options()
        self._stands, self._changed, self._say, self._logged = stands, changed, say, logged
        self._peer: Debugpy | None = None
        self._wanted = _Wanted()
        self._waiting: dict[str, list[Line]] = {}
        self._imports = ImportWatch(self._loads)
        self._lock = threading.RLock()
        """Not for debugpy's reader, for which others wait while they hold it."""
        self._switching = threading.Lock()
        self._ids: dict[int, int] = {}
        self._target: tuple[str, int] | None = None
        self._rules: list[dict[str, Any]] | None = None
        self._standing = 0
        self._motion: Motion | None = None
        self._pausing: int | None = None
        self._suspended_threads = 0
        self._leaving: dict[int, PythonStop] = {}
        self._stepping: set[int | None] = set()

    # --- for the dispatcher

    @property
    def is_tracing(self) -> bool:
        return self._peer is not None and self._peer.is_tracing

    def passes_over(self, path: str) -> bool:
        """Whether a step by lines passes over the lines of a library's file."""
        return self.options.just_my_code and path not in self._wanted.lines

    def place(self, lines: Iterable[Line], filters: Mapping[int, str]) -> list[LineState]:
        """Replaces all breakpoints on lines, and the filters of exceptions, which have ids like them.

        Never fails: the states say why one is not in force.
        """
        with self._lock:
            before, wanted = self._wanted, _Wanted(filters={id: FILTERS[name] for id, name in filters.items()})
            waiting: dict[str, list[Line]] = {}
            for line in lines:
                group = wanted.lines if self._is_there(line.path) else waiting
                group.setdefault(line.path, []).append(line)
            self._wanted, self._waiting = wanted, waiting
            self._imports.wait_for(set(waiting))
            later = [LineState(line.id, False, None, NOT_LOADED, True) for group in waiting.values() for line in group]
            if wanted.is_empty and self._peer is None:
                return later
            try:
                peer = self._begin()
                states = [state for path in {**before.lines, **wanted.lines} for state in self._send(peer, path)]
                peer.ask("setExceptionBreakpoints", filters=list(wanted.filters.values()))
                self._rest()
            except RequestError as error:
                ids = [*filters, *(line.id for group in wanted.lines.values() for line in group)]
                return [*later, *(LineState(id, False, message=str(error)) for id in ids)]
            return [*later, *states, *(LineState(id, True) for id in filters)]

    def _is_there(self, path: str) -> bool:
        return not self.options.is_allowed or os.path.realpath(path) == self.options.program or is_loaded(path)

    def _loads(self, file: str) -> None:
        """A file in which somebody wants to stop is about to be loaded, on the calling thread."""
        with self._lock:
            paths = [path for path in self._waiting if os.path.realpath(path) == file]
            for path in paths:
                self._wanted.lines[path] = self._waiting.pop(path)
            try:
                states = [state for path in paths for state in self._send(self._begin(), path)]
            except RequestError as error:
                lines = [line for path in paths for line in self._wanted.lines[path]]
                states = [LineState(line.id, False, message=str(error)) for line in lines]
            for state in states:
                self._changed(state)

    def run_to(self, path: str, line: int) -> None:
        """Stops at a line once, if no other stop comes before. Raises NoPythonDebugger."""
        peer = self._begin()
        self._target = path, line
        self._send(peer, path)

    def pause(self, ident: int) -> None:
        """Stops a thread at the next line that it comes to. Raises NoPythonDebugger."""
        self._pausing = ident
        if not self._suspended_threads:
            self._begin()
            self._suspend(ident)

    def _suspend(self, ident: int) -> None:
        self._stepping.add(ident)
        self._trace()
        _api().request_suspend_thread(_debugger(), _thread_id(ident))

    def detach(self) -> None:
        """Nobody is there any more: nothing is traced, and what stands at lines goes on when it is let go."""
        self._target = None
        with contextlib.suppress(RequestError):
            self.place([], {})
        self._rest(is_certain=True)

    def forked(self) -> None:
        """In a child of this process: nothing is traced, and nobody is there who could be asked for anything."""
        if self._peer is not None:
            self._peer.forked()

    # --- for the threads of the program

    def step_from(self, frame: FrameType, motion: Motion) -> bool:
        """Has the calling thread stop where a motion by lines ends, from a frame where debugpy has not stopped it.

        False: lines are not debugged here.
        """
        try:
            self._begin()
        except RequestError:
            return False
        self._stepping.add(threading.get_ident())
        target = frame.f_back if motion is Motion.OUT else frame
        sys.modules["pydevd"].settrace(suspend=True, trace_only_current_thread=True, stop_at_frame=target)
        if motion is Motion.IN:
            commands = importlib.import_module("_pydevd_bundle.pydevd_comm_constants")
            mine = self.options.just_my_code
            info = threading.current_thread().additional_info  # type: ignore[attr-defined]
            info.pydev_step_cmd = commands.CMD_STEP_INTO_MY_CODE if mine else commands.CMD_STEP_INTO
        return True

    def stopped_otherwise(self, ident: int) -> None:
        """A thread has come to a stop of another kind: the step by lines that it was in is over."""
        if self.is_tracing:
            for each in {ident, self._pausing or ident}:
                _api().request_resume_thread(_thread_id(each))
        self._pausing = None
        self._stepping.discard(ident)
        self._drop_target()
        self._rest()

    def _stand(self, stop: PythonStop) -> None:
        """What debugpy evaluates in a thread that it has suspended."""
        frame = below_debugger(sys._getframe(1))
        if frame is None or not is_shown(PythonFrame(frame, frame.f_lineno)):
            stop.onwards = self._motion if self._motion is Motion.IN else Motion.NEXT
        else:
            self._motion = self._pausing = None
            self._stepping.discard(threading.get_ident())
            self._drop_target()
            with untraced():
                sys.call_tracing(self._park, (stop, frame))  # what is looked at may watch what returns

    def _park(self, stop: PythonStop, frame: FrameType) -> None:
        self._standing += 1
        try:
            self._motion = stop.onwards = self._stands(stop, frame)
            if stop.onwards is not None:
                self._stepping.add(threading.get_ident())
        except KeyboardInterrupt:  # debugpy would take it for one of what it evaluates
            stop.is_interrupted = True
        finally:
            self._standing -= 1

    # --- debugpy

    def _begin(self) -> Debugpy:
        """Has it trace, with what is wanted of it by now. Raises NoPythonDebugger."""
        if not self.options.is_allowed:
            raise NoPythonDebugger(OFF)
        is_new = self._peer is None
        peer = self._peer = self._peer or debugpy_of_process(self._told, self._gone)
        self._attach(peer)
        if is_new:
            peer.ask("configurationDone")
        self._trace()
        return peer

    def _trace(self) -> None:
        with self._switching:
            if self._peer is not None:
                self._peer.trace(True)

    def _rest(self, is_certain: bool = False) -> None:
        """Has it trace nothing when nothing needs it."""
        with self._switching:
            self._stepping &= {thread.ident for thread in threading.enumerate()}
            is_needed = not self._wanted.is_empty or self._target is not None or self._standing or self._stepping
            if self._peer is not None and (is_certain or not is_needed):
                self._peer.trace(False)

    def _attach(self, peer: Debugpy) -> None:
        """Tells it whose lines count. A library in which somebody wants to stop is theirs."""
        paths = {*self._wanted.lines, *([self._target[0]] if self._target else [])}
        rules: list[dict[str, Any]] = [{"path": path, "include": False} for path in (f"{OURS}**", MODULES)]
        if self.options.just_my_code:
            rules += [{"path": path, "include": True} for path in sorted(paths)]
        if rules != self._rules:
            self._rules = rules
            peer.ask(
                "attach", justMyCode=self.options.just_my_code, rules=rules, subProcess=False, redirectOutput=False,
                isOutputRedirected=True, stopAllThreadsOnSuspend=False, steppingResumesAllThreads=False,
            )  # fmt: skip

    def _send(self, peer: Debugpy, path: str) -> list[LineState]:
        """The lines of one file."""
        self._attach(peer)
        lines = self._wanted.lines.get(path, [])
        asked = [line.for_debugpy() for line in lines]
        if self._target is not None and self._target[0] == path:
            asked.append({"line": self._target[1]})
        answer = peer.ask("setBreakpoints", source={"path": path}, breakpoints=asked)["breakpoints"]
        self._ids.update((known["id"], line.id) for line, known in zip(lines, answer, strict=False))
        return [state_of(line.id, known) for line, known in zip(lines, answer, strict=False)]

    def _drop_target(self) -> None:
        """The line that a motion went to counts for one stop only."""
        if self._target is not None and self._peer is not None:
            (path, _), self._target = self._target, None
            with contextlib.suppress(RequestError):
                self._send(self._peer, path)

    def _told(self, event: str, body: dict[str, Any]) -> None:
        if event == "stopped":
            self._suspended(body)
        elif event == "continued":
            self._went_on(body["threadId"])
        elif event == "breakpoint" and body["breakpoint"]["id"] in self._ids:
            self._changed(state_of(self._ids[body["breakpoint"]["id"]], body["breakpoint"]))
        elif event == "output" and not _is_unsaid(body):
            self._logged(body["output"], (body.get("source") or {}).get("path"), body.get("line"))

    def _suspended(self, body: dict[str, Any]) -> None:
        """Debugpy has suspended a thread: it stands as soon as what is known only there has been asked."""
        thread, peer = body["threadId"], self._peer
        self._suspended_threads += 1
        ids = [self._ids[id] for id in body.get("hitBreakpointIds") or [] if id in self._ids]
        is_step = body["reason"] in STEPS or (body["reason"] == "breakpoint" and not ids)
        stop = PythonStop("step" if is_step else body["reason"], ids, body.get("text") or "")
        assert peer is not None

        def has_frame(answer: Reply[dict[str, Any]]) -> None:
            try:
                frame = answer.result()["stackFrames"][0]["id"]
            except (RequestError, LookupError):
                goes_on(answer)
                return
            number = next(_numbers)
            _standing[number] = lambda: self._stand(stop)
            peer.send("evaluate", goes_on, expression=STAND.format(number), frameId=frame, context="repl")

        def goes_on(_answer: Reply[dict[str, Any]]) -> None:
            self._rest()  # before the thread goes on
            if stop.is_interrupted:
                _thread.interrupt_main()
            self._leaving[thread] = stop
            command = "continue" if stop.onwards is None else COMMANDS[stop.onwards]
            peer.send(command, is_let_go, threadId=thread, singleThread=True)

        def is_let_go(answer: Reply[dict[str, Any]]) -> None:
            if stop.is_interrupted or not answer.is_success:  # else it says itself when it has left
                self._went_on(thread)

        def has_details(answer: Reply[dict[str, Any]]) -> None:
            with contextlib.suppress(RequestError):
                stop.exception = answer.result()
            peer.send("stackTrace", has_frame, threadId=thread, startFrame=0, levels=1)

        if stop.reason == "exception":
            peer.send("exceptionInfo", has_details, threadId=thread)
        else:
            peer.send("stackTrace", has_frame, threadId=thread, startFrame=0, levels=1)

    def _went_on(self, thread: int) -> None:
        """A thread that stood runs again, and is no longer about to. If somebody wants to pause since, it is time.

        One that is asked to stop while it is let go, but has not left, would stand on without a word.
        """
        if (stop := self._leaving.pop(thread, None)) is None:
            return
        if stop.is_interrupted and self._peer is not None:  # which ends the tracing of its thread, once that has left
            deadline = time.monotonic() + SECONDS_TO_LEAVE
            while _is_in_debugger(threading.main_thread()) and time.monotonic() < deadline:
                time.sleep(0.001)
            self._peer.trace_again()
            self._rest()
        self._suspended_threads -= 1
        if self._pausing is not None and not self._suspended_threads:
            self._suspend(self._pausing)

    def _gone(self) -> None:
        self._peer, self._rules = None, None
        self._suspended_threads -= len(self._leaving)  # they have no one left to say it to
        self._leaving.clear()
        self._say("debugpy has gone: lines of Python are not debugged any more\n")


def _is_in_debugger(thread: threading.Thread) -> bool:
    """Whether debugpy runs in a thread just now."""
    frame = sys._current_frames().get(thread.ident or 0)
    return any(is_debugger(one.f_code.co_filename) for one in outward(frame))


def _is_unsaid(output: dict[str, Any]) -> bool:
    return output.get("category") == "telemetry" or any(words in output["output"] for words in UNSAID)


def stand(number: int) -> None:
    """What debugpy is asked to evaluate in a thread that it has suspended."""
    _standing.pop(number)()


STAND = "__import__('dap_server.engine.program.python_debugger').engine.program.python_debugger.stand({})"
_numbers = itertools.count(1)
_standing: dict[int, Callable[[], None]] = {}


def _api() -> Any:
    return importlib.import_module("_pydevd_bundle.pydevd_api").PyDevdAPI()


def _debugger() -> Any:
    return sys.modules["pydevd"].get_global_debugger()


def _thread_id(ident: int) -> str:
    """Pydevd's name for a thread."""
    thread = next(thread for thread in threading.enumerate() if thread.ident == ident)
    name: str = importlib.import_module("_pydevd_bundle.pydevd_constants").get_thread_id(thread)
    return name
