"""The engine's side of a debug session: the connection to the adapter, and its one dispatcher.

Threads, all but the main one hidden from debuggers:
    reader      reads the adapter's messages; sees `cancel` and whatever ends a stop at once
    dispatcher  answers one request after another
    main        loads and runs the model; parked at stops, where it runs the jobs of the dispatcher
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dap_server.engine.execution.reasons import DATA_HIT
from dap_server.engine.inspection.threads import joined
from dap_server.engine.program.hiding import hide_from_debuggers
from dap_server.modelmap.path_mappings import PathMappings
from dap_server.modelmap.places import END
from dap_server.protocol.attach import AttachArguments
from dap_server.protocol.control_requests import CancelArguments
from dap_server.protocol.errors import Cancelled, InternalError, NotStopped, RequestError
from dap_server.protocol.events import (
    BreakpointEventBody,
    ContinuedEventBody,
    OutputEventBody,
    ProgressEndEventBody,
    ProgressStartEventBody,
    ProgressUpdateEventBody,
    StoppedEventBody,
)
from dap_server.protocol.llm.control import LoadingEventBody
from dap_server.protocol.messages import Message, Request
from dap_server.protocol.types import Breakpoint, Source
from dap_server.wire.connection import Connection
from dap_server.wire.handlers import RequestTable, When
from dap_server.wire.reply import Reply
from dap_server.wire.streams import Streams

if TYPE_CHECKING:
    from dap_server.engine.anatomy.modules import SourceLine
    from dap_server.engine.debuggee import Debuggee
    from dap_server.engine.execution.breakpoints import Breakpoint as PlacedBreakpoint
    from dap_server.engine.execution.stops import Stop
    from dap_server.engine.inspection.threads import Threads
    from dap_server.engine.listening import Listener
    from dap_server.engine.program.models import Models, Placed
    from dap_server.engine.program.python_debugger import PythonDebugger
    from dap_server.engine.program.script import Script
    from dap_server.engine.program.uncaught import UncaughtExceptions

T = TypeVar("T")

ENDS_A_STOP = frozenset(["continue", "next", "stepIn", "stepOut", "restart", "terminate", "disconnect"])
"""Requests that make looks at the present stop pointless: those still waiting are cancelled."""

TRAVELS = frozenset(
    ["stepBack", "reverseContinue", "goto", "restartFrame", "llm/reverseStepIn", "llm/reverseStepOut", "llm/runToStep"]
)
"""They end a stop too, but may search for long before they do: whatever else ends it ends the search."""

MAX_THREADS = 8
"""With more sequences than this there is one thread for all of them."""


class NoModel(RequestError):
    """A program has not called a model yet."""

    id = 67

    def __init__(self) -> None:
        super().__init__("no model has been called yet")


class EngineSession:
    """One adapter, one model process."""

    def __init__(self, streams: Streams, listener: Listener | None = None) -> None:
        """`listener`: the door that it came by, where an editor attaches; None for the adapter that started us."""
        self.listener = listener
        self.leaving = ExitStack()
        """What has to be put back when the editor goes and the program stays."""
        self.attachment: AttachArguments | None = None
        self.is_closed = False
        """Whether the other side has gone."""
        self.connection = Connection(streams, self._received, self._closed, name="llm-dap engine")
        self.requests: RequestTable[EngineSession] = RequestTable()
        self.debuggee: Debuggee | None = None
        self.script: Script | None = None
        """The program that is run, if it is one."""
        self.stops_on_entry = False
        """Whether it stands before its first line."""
        self.threads: Threads | None = None
        """Those of a program; a prompt that is run has its sequences."""
        self.uncaught: UncaughtExceptions | None = None
        """What ends a program."""
        self.paths = PathMappings()
        """Where the editor has the files of a program on another machine."""
        self.just_my_code = True
        """Whether Python frames of libraries stand back behind the user's."""
        self.models: Models | None = None
        """Those of a program: the debuggee is the one whose call runs or stands, or was the last to."""
        self.python: PythonDebugger | None = None
        """Lines of Python, once somebody has asked for one."""
        self.is_detached = False
        """Whether the model runs on without an adapter."""
        self.commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        """Work for the main thread, which loads and runs models."""
        self.configured = threading.Event()
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._waiting: dict[int, str] = {}
        self._cancelled: set[int] = set()
        self._progress_id: str | None = None
        self._progress_ids = (f"replay-{number}" for number in itertools.count(1))
        self._now: int | None = None
        self._afterwards: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begins to read: the end of the adapter is seen from now on; its requests wait."""
        hide_from_debuggers(self.connection.thread)
        self.connection.start()

    def serve(self, requests: RequestTable[EngineSession]) -> None:
        """Begins to answer."""
        self.requests = requests
        dispatcher = threading.Thread(target=self._dispatch, name="llm-dap engine dispatcher", daemon=True)
        hide_from_debuggers(dispatcher)
        dispatcher.start()

    # --- for requests

    @property
    def ready(self) -> Debuggee:
        """The loaded model. Raises RequestError while there is none."""
        if self.debuggee is None:
            raise NotStopped("the model is not loaded yet")
        return self.debuggee

    @property
    def stop(self) -> Stop:
        """The present stop. Raises NotStopped."""
        stepper = self.debuggee.stepper if self.debuggee else None
        stop = stepper.stop if stepper and stepper.stage.is_parked else None  # resumed, it forgets its stop a bit later
        if stop is None:
            raise NotStopped
        return stop

    def on_model_thread(self, job: Callable[[], T]) -> T:
        """Runs a job on the stopped model thread. Raises NotStopped, Cancelled, and what the job raises."""
        return self.ready.stepper.stage.run(job, lambda: self._now in self._cancelled)

    def thread_number(self, stop: Stop) -> int:
        """The thread that a stop is about, as clients know it."""
        sequence = stop.sequence if stop.generation.sequences <= MAX_THREADS else 0
        return sequence + 1 if self.threads is None else joined(self.threads.of(stop.thread).number, sequence)

    def afterwards(self, action: Callable[[], None]) -> None:
        """Does something once the present request is answered: no event may overtake the answer it follows from."""
        self._afterwards.append(action)

    # --- for the model

    def progress(self, message: str, percentage: float) -> None:
        """How far loading is."""
        self.connection.event("llm/loading", LoadingEventBody(message=message, percentage=percentage))

    def output(self, text: str, category: str = "stdout") -> None:
        self.connection.event("output", OutputEventBody(output=text, category=category))

    def source(self, path: str) -> Source:
        """A file of this process, as the editor finds it."""
        return Source(name=os.path.basename(path), path=self.paths.to_client(path))

    def logged(self, text: str, source: SourceLine | None) -> None:
        """A log message, and the line of its place."""
        body = OutputEventBody(output=text, category="console")
        if source is not None:
            body.source, body.line = self.source(source.path), source.line
        self.connection.event("output", body)

    def breakpoint_changed(self, breakpoint: PlacedBreakpoint | Placed) -> None:
        """One is no longer in force, as its condition has raised or another run begins; or it is again."""
        state = Breakpoint(verified=breakpoint.is_verified, id=breakpoint.id, message=breakpoint.message)
        self.connection.event("breakpoint", BreakpointEventBody(reason="changed", breakpoint=state))

    def replaying(self, title: str | None, percentage: float) -> None:
        """How far a long replay is; None ends what was told of last. On the model thread."""
        if title is None:
            self.connection.event("progressEnd", ProgressEndEventBody(progress_id=self._progress_id or ""))
            self._progress_id = None
        elif self._progress_id is None:
            self._progress_id = next(self._progress_ids)
            start = ProgressStartEventBody(
                progress_id=self._progress_id, title=title, percentage=percentage, cancellable=True
            )
            self.connection.event("progressStart", start)
        else:
            update = ProgressUpdateEventBody(progress_id=self._progress_id, percentage=percentage)
            self.connection.event("progressUpdate", update)

    def stopped(self, stop: Stop) -> None:
        """The model thread is parked."""
        if stop.uncaught is not None:
            self._tell_stop(stop, f"uncaught exception: {stop.about}", stop.about)
            return
        if stop.error is not None and self.uncaught is not None:
            self.uncaught.shown(stop.error)
        if stop.python is not None:
            at = f"{os.path.basename(stop.python.f_code.co_filename)}:{stop.python.f_lineno}"
            self._tell_stop(stop, f"{stop.about or stop.reason}: {at}", stop.about or at)
            return
        if self.python is not None:
            self.python.stopped_otherwise(stop.thread)
        failure = stop.failure
        at_end = stop.reason == "pause" and stop.generation.is_over
        what = "forward pass" if stop.generation.is_forward else "generation"
        text = f"end of the {what}" if stop.place.path == END else str(stop.place)
        if changes := self.ready.stepper.breakpoints.told(stop.hits):
            text = f"{'; '.join(changes)}, {text}"
        seen = "; ".join(changes) if stop.reason == DATA_HIT else text
        description = f"{what} finished" if at_end else f"{stop.about or stop.reason}: {seen}"
        if failure is not None:
            description, text = f"the condition '{failure.condition}' raised, {text}", failure.text
        self._tell_stop(stop, description, text)

    def _tell_stop(self, stop: Stop, description: str, text: str) -> None:
        body = StoppedEventBody(
            reason=stop.reason,
            description=description,
            text=text,
            thread_id=self.thread_number(stop),
            all_threads_stopped=True,
            hit_breakpoint_ids=stop.hits or None,
        )
        self.connection.event("stopped", body)

    def continued(self) -> None:
        """A stop has ended though nobody has asked for it: Ctrl+C has reached the thread."""
        self.connection.event("continued", ContinuedEventBody(thread_id=1, all_threads_continued=True))

    def forked(self) -> None:
        """In a child of this process: nothing of the debugger is left in it, and the adapter hears nothing of it."""
        self.is_detached = True
        self.connection.forsake()
        if self.models is not None:
            self.models.forked()
        if self.python is not None:
            self.python.forked()

    # --- the reader thread

    def _received(self, message: Message) -> None:
        if not isinstance(message, Request):
            return
        if message.command == "cancel":
            self._cancel(message)
            return
        if message.command in ENDS_A_STOP | TRAVELS:
            self._cancel_looks(TRAVELS if message.command in TRAVELS else frozenset())
        self._waiting[message.seq] = message.command
        self._inbox.put(message)

    def _cancel(self, request: Request) -> None:
        try:
            arguments = msgspec.json.decode(bytes(request.arguments) or b"{}", type=CancelArguments)
        except msgspec.ValidationError:
            arguments = CancelArguments()
        target = arguments.request_id
        if target in self._waiting:
            self._cancel_one(target)
        if arguments.progress_id is not None and arguments.progress_id == self._progress_id and self.debuggee:
            self.debuggee.stepper.cancel()
        self.connection.respond(request)

    def _cancel_looks(self, spared: frozenset[str]) -> None:
        for seq, command in list(self._waiting.items()):
            handler = self.requests.handlers.get(command)
            if handler and handler.when is When.STOPPED and command not in ENDS_A_STOP | spared:
                self._cancel_one(seq)

    def _cancel_one(self, seq: int) -> None:
        self._cancelled.add(seq)
        if seq == self._now and self.debuggee is not None:
            self.debuggee.stepper.stage.cancel()

    def _closed(self, _reason: str | None) -> None:
        self.is_closed = True
        if self.listener is not None:
            self._cancel_looks(frozenset())
            self._inbox.put(None)
        elif not self.is_detached:
            os._exit(1)  # nobody is left to talk to, and the model may be deep in a kernel

    # --- the dispatcher thread

    def _dispatch(self) -> None:
        while (request := self._inbox.get()) is not None:
            self._now = request.seq
            try:
                self._answer(request)
            finally:
                self._now = None
                self._waiting.pop(request.seq, None)
                self._cancelled.discard(request.seq)
            actions, self._afterwards = self._afterwards, []
            for action in actions:
                try:
                    action()
                except Exception:  # of ours: the dispatcher goes on
                    traceback.print_exc()
        if self.listener is not None:
            self.put_back()
            self.listener.left(self)

    def put_back(self) -> None:
        """The editor goes: the program runs on as if there had been none."""
        try:
            self.leaving.close()
        except Exception:  # of ours: what can be put back is
            traceback.print_exc()

    def _answer(self, request: Request) -> None:
        try:
            result = self._handle(request)
            if isinstance(result, Reply):
                result.then(lambda reply: self._answer_late(request, reply))
            else:
                self.connection.respond(request, result)
        except RequestError as error:
            self.connection.respond_error(request, error)
        except BaseException as error:  # whatever a job let through answers its request; the dispatcher goes on
            traceback.print_exc()
            text = f"internal error in '{request.command}': {type(error).__name__}: {error}"
            self.connection.respond_error(request, InternalError(text))

    def _handle(self, request: Request) -> Any:
        if request.seq in self._cancelled:
            raise Cancelled("the model was resumed, or the request was cancelled, before it was looked at")
        handler = self.requests.find(request.command)
        if handler.when is When.STOPPED:
            _ = self.stop
        if handler.needs_model and self.debuggee is not None and self.debuggee.anatomy.is_empty:
            raise NoModel
        return handler(self, request)

    def _answer_late(self, request: Request, reply: Reply[Any]) -> None:
        try:
            self.connection.respond(request, reply.result())
        except RequestError as error:
            self.connection.respond_error(request, error)
