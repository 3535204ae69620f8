"""The state of a session in the terminal: what is stopped, which frame is looked at, which breakpoints there are."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from dap_server.modelmap.text import SUFFIX
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import BreakpointEventBody, StoppedEventBody
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.requests import PauseArguments
from dap_server.protocol.types import Breakpoint, FunctionBreakpoint, StackFrame
from dap_server.terminal import anomalies, render
from dap_server.terminal.breakpoints import VALUE, LineBreakpoint, ValueBreakpoint, Wanted, file_of, read, wanted
from dap_server.terminal.client import Client
from dap_server.terminal.errors import CommandError, SessionEnded
from dap_server.terminal.filters import Filters
from dap_server.terminal.inbox import Arrival
from dap_server.terminal.screen import Screen
from dap_server.wire.reply import Reply

FRAMES = 20
"""How many are fetched at a stop; all that are running fit in there."""


class Debugger:
    """One session, shown on one screen. Used by one thread.

    Attributes:
        frames: of the thread that is looked at, those that have been fetched; empty while it runs.
        has_more_frames: whether there are some below them.
        selected: index of the frame that commands look at.
        breakpoints: as the user set them, and `states` what became of each.
        filters: of anomalies, which stop the run too.
    """

    def __init__(self, client: Client, screen: Screen) -> None:
        self.client, self.screen = client, screen
        self.options: dict[str, Any] = {}
        self.frames: list[StackFrame] = []
        self.has_more_frames = False
        self.selected = 0
        self.stopped: StoppedEventBody | None = None
        self.breakpoints: list[Wanted] = []
        self.states: list[Breakpoint] = []
        self.filters = Filters(client)
        self.is_over = False
        self._is_running = False
        self._is_changing = False  # where the run stands after an edit is waited for
        self._has_changed = False  # that it stands there has been said
        self._was_interrupted = False
        self._search: Reply[msgspec.Raw] | None = None
        self._title = "loading"  # of the progress that is shown

    @property
    def is_stopped(self) -> bool:
        return self.stopped is not None and not self.is_over

    @property
    def caught(self) -> str | None:
        """The filter that has stopped it, where the adapter can say more of that."""
        is_told = self.client.capabilities.supports_exception_info_request
        return self.filters.caught_by(self.stopped) if self.is_stopped and self.stopped and is_told else None

    @property
    def frame(self) -> StackFrame:
        """The frame that is looked at.

        Raises:
            CommandError: nothing is stopped.
        """
        self.require_stop()
        return self.frames[self.selected]

    def require_stop(self) -> None:
        if self.is_over:
            raise CommandError("the session has ended")
        if not self.frames:
            raise CommandError("nothing is stopped here")

    def require(self, capability: str, command: str) -> None:
        """Raises CommandError when the adapter does not promise something; `capability` is a field of Capabilities."""
        if not getattr(self.client.capabilities, capability):
            raise CommandError(f"'{command}' is not supported by this adapter")

    def start(self, breakpoints: Sequence[str], options: dict[str, Any], filters: Sequence[str] = ()) -> None:
        """Begins, with breakpoints and filters as `break` and `catch` take them; waits for the first stop or the end.

        A program that was attached to is stopped at once when there are no breakpoints.

        Raises:
            RequestError: the launch failed.
            CommandError: a breakpoint or a filter cannot be.
        """
        self.options = options
        first = [new for typed in breakpoints for new in wanted(read(typed), lambda: None)]

        def configure() -> None:
            self.set_breakpoints(first)
            self.filters.begin(filters)

        begun = self.client.begin(configure=configure, **options)
        if self.client.is_attached and not breakpoints:
            begun.then(lambda answer: self._stop_soon() if answer.is_success else None)
        self._settle(begun)

    def _stop_soon(self) -> None:
        """On the reader thread, which must not wait."""
        self.client.request("pause", PauseArguments(thread_id=1))

    def resume(self, request: Callable[[], None]) -> None:
        """Sends a request that lets the model run, and shows what happens until it stops again or ends."""
        self.require_stop()
        frames, self.frames = self.frames, []
        try:
            request()
        except RequestError:
            self.frames = frames
            raise
        self._settle()

    def travel(self, request: Callable[[], Reply[msgspec.Raw]]) -> None:
        """Like `resume`, with a request that is answered late: finding the way takes its time. Ctrl+C cancels it."""
        self.require_stop()
        frames = self.frames
        search = request()
        try:
            self._settle(search, search)
        except RequestError:
            self.frames = frames
            raise

    def change(self, request: Callable[[], object]) -> None:
        """Sends a request that changes the run, and shows where it stands when that is done."""
        self.require_stop()
        self._has_changed = False
        request()
        self._await_change()

    def evaluate(self, expression: str) -> None:
        """Shows what an expression of the frame gives; one that changes the run, and where that stands then."""
        frame, self._has_changed = self.frame, False
        body = self.client.evaluate(expression, frame.id)
        hint = body.presentation_hint
        if hint is None or "hasSideEffects" not in (hint.attributes or []):
            self.show_pending()  # what the expression itself printed
        if body.result:
            self.screen.show(body.result)
        if hint is not None and "hasSideEffects" in (hint.attributes or []):
            self._await_change()

    def _await_change(self) -> None:
        """It comes back to where it stands, or needs not move at all."""
        self._is_changing = True
        try:
            if not self._has_changed:
                self._settle()
        finally:
            self._is_changing = False

    def restart(self, options: dict[str, Any]) -> None:
        """Begins again with other options. Raises CommandError."""
        if self.client.is_attached:
            raise CommandError("a program that was attached to is not begun again: 'quit' leaves it running")
        arguments = msgspec.to_builtins(LaunchArguments(**options))
        self.screen.begin()
        self.resume(lambda: self.client.ask("restart", {"arguments": arguments}))
        self.options = options

    def set_breakpoints(self, breakpoints: list[Wanted]) -> None:
        """Replaces all of them: those by name, on values, and those of each map that has some or had some."""
        states: dict[str | None, Iterator[Breakpoint]] = {}
        for file in dict.fromkeys(map(file_of, [*self.breakpoints, *breakpoints])):
            if file == VALUE:
                values = [b.at for b in breakpoints if isinstance(b, ValueBreakpoint)]
                states[file] = iter(self.client.set_data_breakpoints(*values))
            elif file is None:
                named = [b for b in breakpoints if isinstance(b, FunctionBreakpoint)]
                states[None] = iter(self.client.set_function_breakpoints(*named))
            else:
                lines = [b.at for b in breakpoints if isinstance(b, LineBreakpoint) and b.file == file]
                states[file] = iter(self.client.set_breakpoints(file, *lines))
        self.breakpoints, self.states = breakpoints, [next(states[file_of(b)]) for b in breakpoints]

    def data_id(self, text: str) -> str:
        """Of a value that is typed; of one in the frame that is looked at, if something is stopped.

        Raises:
            CommandError: it cannot be watched.
        """
        if not self.frames:
            return text
        info = self.client.data_breakpoint_info(text, self.frame.id)
        if info.data_id is None:
            raise CommandError(info.description)
        return info.data_id

    def map_in_use(self) -> str | None:
        """The path of the model map that this session has."""
        sources = self.client.loaded_sources() if self.client.capabilities.supports_loaded_sources_request else []
        return next((source.path for source in sources if source.path and source.path.endswith(SUFFIX)), None)

    def fetch_frames(self, levels: int = FRAMES) -> None:
        """The first frames of the thread that is looked at; 0 is all of them."""
        body = self.client.stack_trace(levels=levels)
        self.frames = body.stack_frames
        known = body.total_frames
        self.has_more_frames = len(self.frames) < known if known is not None else bool(levels)

    def select(self, index: int) -> None:
        if index >= len(self.frames) and self.has_more_frames:
            self.fetch_frames(0)
        if not 0 <= index < len(self.frames):
            raise CommandError(f"there are frames 0 to {len(self.frames) - 1}")
        self.selected = index

    def show_pending(self) -> None:
        """Shows what has come while nobody waited."""
        while (arrival := self.client.inbox.take()) is not None:
            self._handle(arrival)
        if self.client.has_ended and not self.is_over:
            self._lost("the adapter has gone")

    def _settle(self, unless: Reply[msgspec.Raw] | None = None, search: Reply[msgspec.Raw] | None = None) -> None:
        """Shows what happens until it stops or ends, or `unless` fails; an interruption cancels a search."""
        self._is_running, self._was_interrupted = True, False
        self._search = search
        try:
            with self._interruptible():
                while self._is_running and not self.is_over:
                    self._show_next(unless)
        finally:
            self._is_running = False
            self.screen.progress(None)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl+C is raised where events are waited for, and nowhere else: elsewhere it could leave a lock held."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        inbox = self.client.inbox
        before = signal.signal(signal.SIGINT, lambda *_: inbox.fail(KeyboardInterrupt()))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            with contextlib.suppress(KeyboardInterrupt):
                inbox.raise_failure()  # one that came as the run stopped by itself

    def _show_next(self, unless: Reply[msgspec.Raw] | None) -> None:
        try:
            self._handle(self.client.take(unless=unless))
        except TimeoutError:
            return  # a model may think as long as it likes: Ctrl+C pauses it
        except SessionEnded as end:
            self._lost(str(end).partition("\noutput so far")[0])
        except KeyboardInterrupt:
            self._interrupt(unless is not None and not unless.is_settled)

    def _interrupt(self, is_loading: bool) -> None:
        if self._search is not None and not self._search.is_settled:
            self.client.cancel(self._search.seq)
            return
        if is_loading:
            raise CommandError("interrupted while the model was loading")
        if self._was_interrupted:
            raise CommandError("it does not stop: 'quit' ends the session")
        self._was_interrupted = True
        self.client.pause()

    def _lost(self, why: str) -> None:
        self.is_over, self._is_running, self.frames = True, False, []
        self.screen.error(why)

    def _handle(self, arrival: Arrival) -> None:
        body = arrival.body
        match arrival.event:
            case "output":
                self.screen.text(body.output, body.category or "console", self._is_running)
            case "stopped":
                self._stop(body)
            case "breakpoint":
                self._breakpoint_changed(body)
            case "progressStart" | "progressUpdate":
                self._title = getattr(body, "title", self._title)
                done = f"{body.percentage:.0f} %" if body.percentage is not None else None
                self.screen.progress(f"{self._title}: {' '.join(filter(None, [body.message, done]))}")
            case "progressEnd":
                self.screen.progress(None)
            case "invalidated":
                self._has_changed = True
                self._is_running &= not self._is_changing
            case "continued":
                self.frames = []
            case "terminated":
                self._end()

    def _stop(self, stopped: StoppedEventBody) -> None:
        self.stopped, self._is_running, self.selected = stopped, False, 0
        self._has_changed = True
        self.screen.progress(None)
        self.fetch_frames()
        self.show_stop()

    def show_stop(self) -> None:
        """Where it stands, and why, in one line; of an anomaly, what it is and where it comes from."""
        assert self.stopped is not None
        pairs = zip(self.breakpoints, self.states, strict=True)
        names = {state.id: breakpoint.name for breakpoint, state in pairs if state.id is not None}
        label = None if self.caught is None else self.filters.label(self.caught)
        self.screen.show(render.stop_line(self.stopped, self.frames, names, label))
        if self.caught is not None:
            self.screen.show(anomalies.anomaly(self.client.exception_info()))

    def _breakpoint_changed(self, change: BreakpointEventBody) -> None:
        if (filter := self.filters.change(change)) is not None:
            if _is_told(change.breakpoint):
                self.screen.show(render.note(f"catch {filter}: {change.breakpoint.message}"))
            return
        for i, state in enumerate(self.states):
            if state.id is None or state.id == change.breakpoint.id:
                self.states[i] = change.breakpoint
                if _is_told(change.breakpoint):
                    self.screen.show(render.note(f"breakpoint {self.breakpoints[i].name}: {change.breakpoint.message}"))
                return

    def _end(self) -> None:
        has_run = self._is_running or self.stopped is not None
        self.is_over, self._is_running, self.frames = True, False, []
        code = self.client.exit_code
        if has_run:
            what = "the program" if self.client.is_attached else "the model's process"
            self.screen.show(render.note(f"{what} has ended" + (f" with exit code {code}" if code else "")))


def _is_told(breakpoint: Breakpoint) -> bool:
    """Whether a person wants to know: not of one that waits for a model to be called."""
    return not breakpoint.verified and bool(breakpoint.message) and breakpoint.reason != "pending"
