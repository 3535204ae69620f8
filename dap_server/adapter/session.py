"""A session with one editor: its state, and its one dispatcher.

Threads only read or wait, and post what happened; everything else runs on the dispatcher, so there are no locks.
"""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from dap_server.adapter.backend import Backend
from dap_server.adapter.breakpoints import Breakpoints
from dap_server.adapter.engine_process import Exit
from dap_server.adapter.loading import Loading
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import (
    BreakpointEventBody,
    ContinuedEventBody,
    ExitedEventBody,
    OutputEventBody,
    ProcessEventBody,
)
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.llm import LoadingEventBody
from dap_server.protocol.messages import Event, Message, Request
from dap_server.protocol.requests import InitializeRequestArguments, SetFunctionBreakpointsResponseBody
from dap_server.wire.connection import Connection
from dap_server.wire.handlers import RequestTable, When
from dap_server.wire.loopback import Streams
from dap_server.wire.reply import Reply

GRACE_SECONDS = 3.0
"""How long an engine may take to end by itself before it is killed."""


class AdapterSession:
    """One editor, and at most one engine at a time."""

    def __init__(self, streams: Streams, requests: RequestTable[AdapterSession], token: str | None = None) -> None:
        """`token`: what `launch` has to show; None over stdio, where only our parent can talk to us."""
        self.client = Connection(
            streams,
            received=lambda message: self.post(lambda: self._received(message)),
            closed=lambda reason: self.post(lambda: self._client_closed(reason)),
            name="client",
        )
        self.requests = requests
        self.token = token
        self.client_info: InitializeRequestArguments | None = None
        self.launch: LaunchArguments | None = None
        self.backend: Backend | None = None
        self.loading: Loading | None = None
        self.breakpoints = Breakpoints()
        self.is_configured = False
        self.is_stopped = False
        """Whether the client believes so."""
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._forwarded: dict[int, int] = {}
        self._when_ended: list[Callable[[], None]] = []
        self._is_over = False
        self._has_terminated = False

    def run(self) -> None:
        """Serves the client until it disconnects or closes. No process is left behind."""
        self.client.start()
        try:
            while not self._is_over:
                self._inbox.get()()
        finally:
            if self.backend is not None and not self.backend.is_abandoned:
                self.backend.abandon()
            self.client.close()

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
        """Passes a request to the engine as it is."""
        if self.backend is None:
            raise RequestError(f"'{request.command}': there is no model: 'launch' comes first")
        reply = self.backend.request(request.command, request.arguments)
        self._forwarded[request.seq] = reply.seq
        reply.then(lambda _: self._forget(request.seq))
        return reply

    def _forget(self, seq: int) -> None:
        self._forwarded.pop(seq, None)

    def cancel_forwarded(self, seq: int) -> None:
        if seq in self._forwarded and self.backend is not None:
            self.backend.request("cancel", {"requestId": self._forwarded[seq]})

    def start(self, launch: LaunchArguments) -> Reply[None]:
        """Starts an engine and loads the model; the reply settles when it is ready to run.

        Raises:
            StartError: the process cannot be started.
        """
        self.launch = launch
        loading = self.loading = Loading(self, launch)
        self.backend = backend = Backend(self, launch, connected=lambda: loading.connected(backend))
        return loading.reply

    def reload(self, launch: LaunchArguments) -> Reply[None]:
        """Starts over with another model: the present engine goes without a word."""
        if self.backend is not None:
            self.backend.abandon()
        if self.loading is not None and not self.loading.reply.is_settled:
            self.loading.cancel_quietly()
        self.continued()
        self.breakpoints.unsettle()
        self._has_terminated = False
        return self.start(launch)

    def restarted(self, launch: LaunchArguments, answer: Reply[Any]) -> None:
        """The engine has been told to begin again on its model."""
        try:
            answer.result()
        except RequestError:
            return  # it goes on as it was
        self.launch = launch
        self.continued()

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
        assert self.launch is not None
        for state in self.breakpoints.states:
            self.client.event("breakpoint", BreakpointEventBody(reason="changed", breakpoint=state))
        self.client.event(
            "process",
            ProcessEventBody(
                name=str(self.launch.model),
                system_process_id=backend.pid,
                is_local_process=True,
                start_method="launch",
            ),
        )
        if self.is_configured:
            backend.request("configurationDone")

    def continued(self) -> None:
        """Tells a client that believes in a stop that it is over, when it did not ask for that itself."""
        if self.is_stopped:
            self.is_stopped = False
            self.client.event("continued", ContinuedEventBody(thread_id=1, all_threads_continued=True))

    def end(self, answer: Callable[[], None] | None = None) -> None:
        """Ends the engine, gently first, and then the session when `answer` is given."""
        if answer is not None:
            self._when_ended.append(answer)
        backend = self.backend
        if backend is None or backend.is_abandoned:
            self._answer_ends()
            return
        try:
            backend.request("terminate")
            self.later(GRACE_SECONDS, lambda: None if backend.is_abandoned else backend.kill())
        except RequestError:
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
        match message.event:
            case "llm/loading":
                if self.loading is not None:
                    self.loading.reached(msgspec.json.decode(message.body, type=LoadingEventBody))
            case "exited":
                backend.exits_with(msgspec.json.decode(message.body, type=ExitedEventBody).exit_code)
            case _:
                self.is_stopped = message.event == "stopped" or self.is_stopped
                self.client.event(message.event, message.body or None)

    def engine_ended(self, backend: Backend, exit: Exit) -> None:
        """The engine's process is gone, whether it should or not."""
        if backend is not self.backend:
            return
        if self.loading is not None and not self.loading.reply.is_settled:
            self.loading.process_ended(exit)
        else:
            if exit.signal_name and not self._when_ended:
                self.output(f"the model's process {exit}\n", "important")
            self.client.event("exited", ExitedEventBody(exit_code=exit.code))
            self.terminated()
        self._answer_ends()

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
        except RequestError as error:
            self.client.respond_error(message, error)
            return
        except Exception as error:  # of ours: ends this request, not the session
            traceback.print_exc(file=sys.stderr)
            self.client.respond_error(message, RequestError(f"internal error: {type(error).__name__}: {error}"))
            return
        if isinstance(result, Reply):
            result.then(lambda reply: self._answer(message, reply))
        else:
            self.client.respond(message, result)

    def _handle(self, request: Request) -> Any:
        if self.client_info is None and request.command != "initialize":
            raise RequestError(f"'{request.command}': 'initialize' comes first")
        handler = self.requests.find(request.command)
        if handler.when > When.ANY_TIME and self.launch is None:
            raise RequestError(f"'{request.command}': 'launch' comes first")
        return handler(self, request)

    def _answer(self, request: Request, reply: Reply[Any]) -> None:
        try:
            self.client.respond(request, reply.result())
        except RequestError as error:
            self.client.respond_error(request, error)

    def _client_closed(self, reason: str | None) -> None:
        if reason is not None:
            sys.stderr.write(f"llm-dap: the client's connection ended: {reason}\n")
        self.close()
