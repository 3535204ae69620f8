"""debugpy in this process, seen from its client, which is us: it connects to a socket of ours, and speaks DAP.

It is imported with the first need of it, since a process that it traces is slower. What it listens to is one connection
that it has made itself: nobody else can reach it. Threads: what it tells comes on the connection's reader thread.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgspec

import dap_server
from dap_server.engine.inspection.threads import is_hidden
from dap_server.engine.program.hiding import hide_from_debuggers
from dap_server.protocol.errors import RequestError
from dap_server.protocol.messages import Event, Message
from dap_server.wire.connection import Connection
from dap_server.wire.loopback import LOOPBACK, listen
from dap_server.wire.quick import quick_streams
from dap_server.wire.reply import Reply

ENVIRONMENT = {"PYDEVD_WARN_EVALUATION_TIMEOUT": "1e9", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""A stop is one evaluation to debugpy, and lasts as long as somebody looks."""
TRACES = "enable_tracing"
"""What pydevd calls to have a thread traced."""
SECONDS = 20.0
"""How long debugpy may take to answer: what it is asked for does not depend on the program."""
OURS = os.path.dirname(os.path.abspath(dap_server.__file__)) + os.sep
"""Where our own files lie."""


class NoPythonDebugger(RequestError):
    """Lines of Python cannot be debugged in this process; the text says why."""

    id = 60


def debugpy_of_process(told: Callable[[str, Any], None], gone: Callable[[], None]) -> Debugpy:
    """The one connection there is: of an editor that came before, or a new one. See `Debugpy`."""
    global _present
    if _present is None or not _present.is_there:
        _present = Debugpy(told, gone)
    else:
        _present.told, _present.gone = told, gone
    return _present


_present: Debugpy | None = None


class Debugpy:
    """One connection to it, for the life of the process: what it traces goes on and off."""

    def __init__(self, told: Callable[[str, Any], None], gone: Callable[[], None]) -> None:
        """Imports it and connects it.

        Args:
            told: gets the name and the body of its events.
            gone: called when its connection has closed without being asked to.

        Raises:
            NoPythonDebugger: it is not installed, or somebody else has put it to use here already.
        """
        self.told, self.gone = told, gone
        self.is_there = True
        self._pydevd = _import()
        self.is_tracing = True
        """Whether threads are traced, which slows them down."""
        listener = listen()
        key, lock = secrets.token_hex(), secrets.token_hex()
        connected = threading.Thread(target=self._connect, args=(listener.getsockname()[1], key, lock), daemon=True)
        hide_from_debuggers(connected)
        connected.start()
        try:
            listener.settimeout(SECONDS)
            peer, _ = listener.accept()
        except OSError:
            raise NoPythonDebugger("debugpy did not connect") from None
        finally:
            listener.close()
        self._connection = Connection(quick_streams(peer), self._received, self._closed, "debugpy")
        hide_from_debuggers(self._connection.thread)
        self._connection.start()
        connected.join(SECONDS)
        shown = self.ask("pydevdAuthorize", debugServerAccessToken=lock)
        if shown.get("clientAccessToken") != key:
            self._connection.close()
            raise NoPythonDebugger("something else than debugpy has connected")
        self.ask("initialize", adapterID="llm-dap", clientID="llm-dap", pathFormat="path")

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """The body of its answer. Raises NoPythonDebugger, RequestError."""
        try:
            return _body(self._connection.request(command, arguments).result(SECONDS))
        except TimeoutError:
            raise NoPythonDebugger(f"debugpy did not answer '{command}' within {SECONDS:g} s") from None

    def send(
        self, command: str, answered: Callable[[Reply[dict[str, Any]]], None] | None = None, **arguments: object
    ) -> None:
        """Asks without waiting; `answered` is called on the reader thread."""

        def settled(raw: Reply[msgspec.Raw]) -> None:
            reply: Reply[dict[str, Any]] = Reply()
            try:
                reply.settle(_body(raw.result()))
            except RequestError as error:
                reply.fail(error)
            if answered is not None:
                answered(reply)

        self._connection.request(command, arguments, settled)

    def trace(self, is_on: bool) -> None:
        """Has all threads of the program traced, or none: an untraced one runs at its full speed."""
        if is_on and self.is_tracing:
            return  # off once more is meant: a thread that stood meanwhile is traced again when it has
        self.is_tracing = is_on
        debugger = self._pydevd.get_global_debugger()
        if is_on:
            vars(debugger).pop(TRACES, None)
            self._pydevd.settrace(suspend=False, patch_multiprocessing=False)
            debugger.set_tracing_for_untraced_contexts()
            untrace_here()
        else:  # frames that have been traced switch it on for their thread again, until they have returned
            setattr(debugger, TRACES, lambda *_, **__: None)
            _untrace_all()

    def trace_again(self) -> None:
        """The same for a thread that is not traced any more, as an exception has left its trace function."""
        if self.is_tracing:
            self.is_tracing = False
            self.trace(True)

    def forked(self) -> None:
        """In a child of this process, where it has no threads: its one thread is not traced."""
        self.is_there = self.is_tracing = False
        _untrace_all()

    def _connect(self, port: int, key: str, lock: str) -> None:
        debugpy = os.path.dirname(os.path.abspath(sys.modules["debugpy"].__file__ or ""))
        self._pydevd.settrace(
            host=LOOPBACK, port=port, suspend=False, wait_for_ready_to_run=False, patch_multiprocessing=False,
            notify_stdin=False, access_token=lock, client_access_token=key, dont_trace_start_patterns=(debugpy, OURS),
        )  # fmt: skip
        untrace_here()

    def _closed(self, _reason: str | None) -> None:
        self.is_there = False
        self.gone()

    def _received(self, message: Message) -> None:
        if isinstance(message, Event):
            self.told(message.event, msgspec.json.decode(message.body or b"{}"))


def _body(raw: msgspec.Raw) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(raw or b"{}")
    return body


def _import() -> Any:
    """pydevd, the part of debugpy that traces. Raises NoPythonDebugger."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        api = importlib.import_module("debugpy.server.api")
        pydevd = importlib.import_module("pydevd")
    except ImportError as error:
        raise NoPythonDebugger(f"debugpy cannot be imported ({error}): pip install debugpy") from None
    finally:
        for name, value in before.items():  # what the program starts is no business of ours
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    if pydevd.get_global_debugger() is not None:
        raise NoPythonDebugger(
            "debugpy debugs this process already for another client, which keeps the lines of Python"
        )
    api.listen.called = True  # whoever tries to listen as well is told by debugpy itself
    return pydevd


def untrace_here() -> None:
    """The calling thread may be none of the program's."""
    if sys.version_info < (3, 12) and is_hidden(threading.current_thread()):
        _settrace(None)


def _untrace_all() -> None:
    if sys.version_info >= (3, 12):
        importlib.import_module("_pydevd_sys_monitoring.pydevd_sys_monitoring").stop_monitoring(all_threads=True)
        return
    threading.settrace(None)
    importlib.import_module("pydevd_tracing").set_trace_to_threads(_untrace)
    _settrace(None)


def _untrace(_frame: FrameType, _event: str, _arg: object) -> None:
    """A trace function: takes itself off, in whichever thread it finds itself."""
    _settrace(None)


def _settrace(function: Any) -> None:
    """Python's own, which pydevd has put one in the place of that warns."""
    holder = sys.modules["pydevd_tracing"].TracingFunctionHolder
    (holder._original_tracing or sys.settrace)(function)


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """In here what a thread runs is not traced, though it runs in a trace function. Only for Python before 3.12."""
    if sys.version_info >= (3, 12) or "pydevd_tracing" not in sys.modules:
        yield
        return
    _settrace(None)
    try:
        yield
    finally:
        sys.modules["pydevd_tracing"].reapply_settrace()
