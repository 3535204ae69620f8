"""A session with one editor: its state, and its one dispatcher.

Threads only read or wait, and post what happened; everything else runs on the dispatcher, so there are no locks.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from dap_server.adapter.endings import Exit, ProcessEnded, Successor
from dap_server.adapter.loading import LOADING, Loading
from dap_server.protocol.attach import AttachArguments, Configuration
from dap_server.protocol.errors import InternalError, NotStopped, RequestError
from dap_server.protocol.events import (
    BreakpointEventBody,
    ContinuedEventBody,
    ExitedEventBody,
    OutputEventBody,
)
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.llm.control import LoadingEventBody, UseMapArguments
from dap_server.protocol.messages import Event, Message, Request
from dap_server.protocol.requests import InitializeRequestArguments, SetFunctionBreakpointsResponseBody
from dap_server.wire.connection import Connection
from dap_server.wire.handlers import RequestTable, When
from dap_server.wire.reply import Reply
from dap_server.wire.streams import Streams

if TYPE_CHECKING:
    from dap_server.adapter.backend import Backend
    from dap_server.adapter.breakpoints import Breakpoints

GRACE_SECONDS = 3.0
"""How long an engine may take to end by itself before it is killed."""


RESUMES = frozenset(["continue", "next", "stepIn", "stepOut", "stepBack", "reverseContinue", "goto", "restartFrame"])
"""Requests after which a client knows without being told that the model runs."""

OWN_RESUMES = frozenset(["llm/reverseStepIn", "llm/reverseStepOut", "llm/runToStep"])
"""Requests after which it has to be told, since DAP does not know them."""


class AdapterSession:
    """One editor, and at most one engine at a time."""

    def __init__(
        self,
        streams: Streams,
        requests: RequestTable[AdapterSession],
        is_token: Callable[[str], bool] | None = None,
    ) -> None:
        """`is_token` knows the token that `launch` has to show; None over stdio, where only our parent talks to us."""
        self.client = Connection(
            streams,
            received=lambda message: self.post(lambda: self._received(message)),
            closed=self._client_gone,
            name="client",
        )
        self.requests = requests
        self.is_token = is_token
        self.client_info: InitializeRequestArguments | None = None
        self.configuration: Configuration | None = None
        self.backend: Backend | None = None
        self.loading: Loading | None = None
        self.is_configured = False
        self.is_stopped = False
        """Whether the client believes so."""
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._forwarded: dict[int, int] = {}
        self._when_ended: list[Callable[[], None]] = []
        self._is_ending = False
        """Whether the client has asked for the end."""
        self._successor: Successor | None = None
        """What is started when the present program has ended."""
        self._is_over = False
        self._has_terminated = False
        self._has_returned = threading.Event()

    def run(self) -> None:
        """Serves the client until it disconnects or closes. No process is left behind."""
        self.client.start()
        try:
            while not self._is_over:
                action = self._inbox.get()
                try:
                    action()
                except Exception:  # of ours: ends this action, not the session
                    traceback.print_exc(file=sys.stderr)
        finally:
            self._has_returned.set()
            if self.backend is not None and not self.backend.is_abandoned:
                self.backend.abandon()
            self.client.close()

    @cached_property
    def breakpoints(self) -> Breakpoints:
        """All that the client wants."""
        from dap_server.adapter.breakpoints import Breakpoints

        return Breakpoints()

    @property
    def is_attached(self) -> bool:
        """Whether the program is somebody else's, and goes on without us."""
        return isinstance(self.configuration, AttachArguments)

    @property
    def _is_program(self) -> bool:
        """Whether it is a program that we have started."""
        return isinstance(self.configuration, LaunchArguments) and self.configuration.is_program

    @property
    def shows_progress(self) -> bool:
        return bool(self.client_info and self.client_info.supports_progress_reporting)

    @property
    def takes_own_events(self) -> bool:
        """Helix 25.01 hears nothing any more after an event that it does not know."""
        return not (self.client_info and self.client_info.client_id == "hx")

    def post(self, action: Callable[[], None]) -> None:
        """Any thread: has the dispatcher do something."""
        self._inbox.put(action)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, lambda: self.post(action))
        timer.daemon = True
        timer.start()

    # --- for requests

    def output(self, text: str, category: str = "console") -> None:
        self.client.event("output", OutputEventBody(output=text, category=category))

    def forward(self, request: Request) -> Reply[Any]:
        """Passes a request to the engine as it is.

        Raises:
            NotStopped: the model is not loaded yet.
            ProcessEnded: there is no engine any more.
        """
        if self.backend is None:
            raise ProcessEnded(f"'{request.command}': there is no model: its process could not be started")
        if not self.backend.is_ready and not self.backend.is_abandoned:
            raise NotStopped(LOADING)
        reply = self.backend.request(request.command, request.arguments)
        self._forwarded[request.seq] = reply.seq
        reply.then(lambda answer: self._forwarded_answered(request, answer))
        return reply

    def _forwarded_answered(self, request: Request, answer: Reply[Any]) -> None:
        self._forwarded.pop(request.seq, None)
        if request.command in RESUMES and answer.is_success:
            self.is_stopped = False

    def cancel_replay(self, progress_id: str) -> None:
        """Cancels something long that the engine has told of."""
        if self.backend is not None and self.backend.is_ready and not self.backend.is_abandoned:
            self.backend.request("cancel", {"progressId": progress_id})

    def cancel_forwarded(self, seq: int) -> None:
        if seq in self._forwarded and self.backend is not None:
            self.backend.request("cancel", {"requestId": self._forwarded[seq]})

    def start(self, configuration: Configuration) -> Reply[None]:
        """Starts an engine and loads the model, or attaches to a program; the reply settles when it is ready to run."""
        self.configuration = configuration
        self._is_ending = self._has_terminated = False
        self.breakpoints.unsettle(are_off=configuration.no_debug)
        loading = self.loading = Loading(self, configuration)
        try:
            self.backend = backend = self._reach(configuration, lambda: loading.connected(backend))
        except RequestError as error:
            why = error
            self.post(lambda: loading.fail(why))  # the request that asks for it is answered first of all
        return loading.reply

    def _reach(self, configuration: Configuration, connected: Callable[[], None]) -> Backend:
        if isinstance(configuration, AttachArguments):
            from dap_server.adapter.attached import Attached

            return Attached(self, configuration, connected)
        from dap_server.adapter.launched import Launched

        return Launched(self, configuration, connected)

    def start_failed(self, backend: Backend, error: RequestError) -> None:
        """There is no process after all."""
        if backend is self.backend and self.loading is not None:
            self.loading.fail(error)

    def reload(self, configuration: Configuration) -> Reply[None]:
        """Starts over with another model, or attaches anew: the present engine goes without a word.

        A program of ours is asked to go first: it may hold what it needs again, such as a port.
        """
        backend = self.backend
        if self._is_program and backend and backend.is_ready and not backend.is_abandoned:
            self.end()
            self._successor = Successor(configuration)
            return self._successor.reply
        self.drop()
        if self.loading is not None and not self.loading.reply.is_settled:
            self.loading.replaced()
        self.continued()
        return self.start(configuration)

    def drop(self) -> None:
        """Has the engine end, and tells nothing more of it."""
        if self.backend is not None and not self.backend.is_abandoned:
            self.backend.abandon()
        self._answer_ends()

    def restarted(self, configuration: Configuration, answer: Reply[Any]) -> None:
        """The engine has been told to begin again on its model."""
        try:
            answer.result()
        except RequestError:
            return  # it goes on as it was
        self.configuration = configuration
        self.continued()

    def use_map(self, backend: Backend, configuration: Configuration) -> None:
        """Has the engine decide which map the stack points into; nothing waits for it, and nothing fails by it."""
        candidates = self.breakpoints.maps
        asked = UseMapArguments(model=configuration.subject, map=configuration.map, candidates=candidates)
        backend.request("llm/useMap", asked)

    def place_breakpoints(self) -> Reply[None]:
        """Has the engine find the breakpoints in its model; settles when their states are known."""
        assert self.backend is not None
        done: Reply[None] = Reply()

        def placed(answer: Reply[Any]) -> None:
            try:
                body = msgspec.json.decode(answer.result(), type=SetFunctionBreakpointsResponseBody)
            except RequestError as error:
                done.fail(error)
                return
            self.breakpoints.settle(body.breakpoints)
            done.settle(None)

        self.backend.request("llm/placeBreakpoints", self.breakpoints.to_place()).then(placed)
        return done

    def model_is_ready(self, backend: Backend) -> None:
        """The model is loaded and breakpoints are placed: the run begins when the client is ready too."""
        backend.is_ready = True
        for state in self.breakpoints.states:
            self.client.event("breakpoint", BreakpointEventBody(reason="changed", breakpoint=state))
        if self.is_configured:
            backend.request("configurationDone")

    def continued(self) -> None:
        """Tells a client that believes in a stop that it is over, when it did not ask for that itself."""
        if self.is_stopped:
            self.is_stopped = False
            self.client.event("continued", ContinuedEventBody(thread_id=1, all_threads_continued=True))

    def end(self, answer: Callable[[], None] | None = None) -> None:
        """Ends the engine, gently first, and then the session when `answer` is given."""
        self._is_ending = True
        if self._successor is not None:
            self._successor.give_up()
            self._successor = None
        if answer is not None:
            self._when_ended.append(answer)
        backend = self.backend
        if backend is None or backend.is_abandoned:
            self._answer_ends()
        elif not backend.is_ready:
            backend.kill()  # nothing runs yet that could be unwound
        else:
            backend.request("terminate")
            self.later(GRACE_SECONDS, lambda: self._end_stuck(backend))

    def _end_stuck(self, backend: Backend) -> None:
        if self._is_ending and not backend.is_abandoned:
            self.output(backend.stuck(GRACE_SECONDS))
            backend.kill()

    def close(self) -> None:
        """Ends the session after the present action."""
        self._is_over = True

    def terminated(self) -> None:
        if not self._has_terminated:
            self._has_terminated = True
            self.client.event("terminated")

    # --- from the engine

    def from_engine(self, backend: Backend, message: Message) -> None:
        """A message of the engine, on the dispatcher."""
        if not isinstance(message, Event):
            return
        try:
            self._pass_event(backend, message)
        except msgspec.DecodeError as error:  # an engine of another version, perhaps: `python` may name any
            sys.stderr.write(f"llm-dap: the engine sent a wrong '{message.event}': {error}\n")

    def _pass_event(self, backend: Backend, event: Event) -> None:
        match event.event:
            case "llm/loading":
                if self.loading is not None:
                    self.loading.reached(msgspec.json.decode(event.body, type=LoadingEventBody))
            case "exited":
                backend.exits_with(msgspec.json.decode(event.body, type=ExitedEventBody).exit_code)
            case "terminated":
                backend.is_over = True
            case "progressStart" | "progressUpdate" | "progressEnd" if not self.shows_progress:
                pass
            case "breakpoint":
                self.breakpoint_changed(msgspec.json.decode(event.body, type=BreakpointEventBody))
            case name if name.startswith("llm/") and not self.takes_own_events:
                pass
            case "continued":
                self.continued()
            case "memory" if not (self.client_info and self.client_info.supports_memory_event):
                pass
            case "invalidated" if not (self.client_info and self.client_info.supports_invalidated_event):
                pass
            case _:
                self.is_stopped = event.event == "stopped" or self.is_stopped
                self.client.event(event.event, event.body or None)

    def breakpoint_changed(self, body: BreakpointEventBody) -> None:
        """The engine knows better by now what becomes of one; where it stands is known here."""
        self.breakpoints.settle([body.breakpoint])
        states = [state for state in self.breakpoints.states if state.id == body.breakpoint.id]
        for state in states:
            self.client.event("breakpoint", BreakpointEventBody(reason=body.reason, breakpoint=state))

    def engine_ended(self, backend: Backend, exit: Exit | None) -> None:
        """The engine's process is gone, whether it should or not."""
        if backend is not self.backend:
            return
        if self._successor is not None:
            successor, self._successor = self._successor, None
            self.continued()
            successor.started(self.start(successor.configuration))
            return
        self.is_stopped = False
        if self.loading is not None and not self.loading.reply.is_settled:
            if self._is_ending:
                self.loading.ended_on_request()
            else:
                self.loading.process_ended(backend.ended_early(exit))
        else:
            if exit is not None:
                if exit.code and not self._is_ending:
                    self._tell(exit)
                self.client.event("exited", ExitedEventBody(exit_code=exit.code))
            elif not self._is_ending and backend.unknown_end:
                self.output(f"{backend.unknown_end}\n", "important")
            self.terminated()
        self._answer_ends()

    def _tell(self, exit: Exit) -> None:
        if self._is_program:
            self.output(f"the program {exit}\n", "important" if exit.signal_name else "console")
        elif exit.signal_name:
            self.output(f"the model's process {exit}\n", "important")

    def _answer_ends(self) -> None:
        answers, self._when_ended = self._when_ended, []
        for answer in answers:
            answer()

    # --- from the client

    def _received(self, message: Message) -> None:
        if not isinstance(message, Request):
            return
        try:
            result = self._handle(message)
            if isinstance(result, Reply):
                result.then(lambda reply: self._answer(message, reply))
            else:
                self.client.respond(message, result)
        except RequestError as error:
            self.client.respond_error(message, error)
        except Exception as error:  # of ours: ends this request, not the session
            traceback.print_exc(file=sys.stderr)
            self.client.respond_error(message, InternalError(f"internal error: {type(error).__name__}: {error}"))

    def _handle(self, request: Request) -> Any:
        if self.client_info is None and request.command not in ("initialize", "disconnect"):
            raise RequestError(f"'{request.command}': 'initialize' comes first")
        handler = self.requests.find(request.command)
        if handler.when > When.ANY_TIME and self.configuration is None:
            raise RequestError(f"'{request.command}': 'launch' or 'attach' comes first")
        return handler(self, request)

    def _answer(self, request: Request, reply: Reply[Any]) -> None:
        try:
            self.client.respond(request, reply.result())
        except RequestError as error:
            self.client.respond_error(request, error)
        else:
            if request.command in OWN_RESUMES:
                self.continued()

    def _client_gone(self, reason: str | None) -> None:
        """On the reader thread: the client is gone, or will send nothing more."""
        self.post(lambda: self._client_closed(reason))
        timer = threading.Timer(GRACE_SECONDS, self._end_blocked)
        timer.daemon = True
        timer.start()

    def _client_closed(self, reason: str | None) -> None:
        if reason is not None:
            sys.stderr.write(f"llm-dap: the client's connection ended: {reason}\n")
        self.close()

    def _end_blocked(self) -> None:
        """A client that has closed its end and does not read ours keeps the dispatcher in a write for ever."""
        if self._has_returned.is_set():
            return
        if self.is_token is None:  # a pipe: no thread can be woken from writing to it
            os._exit(1)
        self.client.close()
