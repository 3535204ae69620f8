"""The other way in: a program that runs already, to which editors come, and from which they go.

Threads, all hidden from debuggers: one waits at the door for the life of the process; a visitor who has shown the token
brings those of a session. The program's own threads call the functions that `dap_server` offers.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress

from dap_server.engine.program.forking import in_children
from dap_server.engine.program.hiding import hide_from_debuggers
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import ExitedEventBody
from dap_server.wire.loopback import HANDSHAKE_SECONDS, LOOPBACK, new_token, visitors
from dap_server.wire.loopback import listen as listening_socket
from dap_server.wire.tokens import TOKEN_VARIABLE, forget_token, key, store_token

NOTICING_SECONDS = 0.5
"""How long who comes waits for the end of another's connection to be noticed: the same editor may come again."""
LEAVING_SECONDS = 10.0
"""How long who comes waits for one who is on the way out: a job of the model's thread may have to end first."""


class Occupied(RequestError):
    """Another editor is attached already."""

    id = 24


class Listener:
    """The door of this process. At most one editor is attached at a time."""

    def __init__(self, host: str, port: int, token: str) -> None:
        """Raises OSError."""
        self.token = token
        self._socket = listening_socket(host, port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._present: EngineSession | None = None
        self._visiting: set[EngineSession] = set()
        thread = threading.Thread(target=self._serve, name="llm-dap listener", daemon=True)
        hide_from_debuggers(thread)
        thread.start()

    @property
    def attached(self) -> EngineSession | None:
        """The session of the editor that is attached and has sent its breakpoints."""
        session = self._present
        return session if session is not None and session.configured.is_set() and not session.is_closed else None

    def wait(self) -> None:
        """Waits for an editor that is attached and has sent its breakpoints."""
        with self._changed:
            self._changed.wait_for(lambda: self.attached is not None)

    def admit(self, session: EngineSession) -> None:
        """A visitor attaches. Raises Occupied."""
        with self._changed:
            self._changed.wait_for(lambda: self._present is None, NOTICING_SECONDS)
            self._changed.wait_for(lambda: self._present is None or not self._present.is_closed, LEAVING_SECONDS)
            if self._present not in (None, session):
                raise Occupied(
                    f"another editor is attached to this program (process {self.pid}): disconnect it there first"
                )
            self._present = session

    def configured(self) -> None:
        """The editor has sent its breakpoints."""
        with self._changed:
            self._changed.notify_all()

    def left(self, session: EngineSession) -> None:
        """An editor has gone, or somebody who never became one; nothing of the session is left in the process."""
        session.connection.close()
        with self._changed:
            self._visiting.discard(session)
            if self._present is session:
                self._present = None
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody comes any more; who is there is sent away."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits
        self._socket.close()
        for session in list(self._visiting):
            session.connection.close()

    def abandon(self) -> None:
        """In a child that was forked: closes its copies, and says nothing to those at the other ends."""
        if (number := self._socket.detach()) >= 0:
            os.close(number)
        for session in self._visiting:
            session.connection.forsake()

    def _serve(self) -> None:
        try:
            for _, streams in visitors(self._socket, [key(self.token, "engine")]):
                _keep_alive(streams.socket)
                session = EngineSession(streams, self)
                self._visiting.add(session)
                session.start()
                thread = threading.Thread(target=self._welcome, args=(session,), name="llm-dap visitor", daemon=True)
                hide_from_debuggers(thread)
                thread.start()
        except OSError:
            return  # closed

    def _welcome(self, session: EngineSession) -> None:
        """Prepares a session, and ends it if nothing comes."""
        try:
            session.progress("importing torch", 5)
            _wait_for_imports()
            from dap_server.engine.requests import requests

            session.serve(requests)
        except Exception:  # such as a torch that cannot be imported: the program goes on
            traceback.print_exc()
            self.left(session)
            return
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._present is session or session not in self._visiting, HANDSHAKE_SECONDS
            ):
                session.connection.close()


def launched(session: EngineSession) -> None:
    """An editor has started this process, and debugs it: whatever the program does to let one in, it is there."""
    global _launched
    _launched = session
    in_children(_forked)


def listen(address: int | tuple[str, int], token: str | None) -> tuple[str, int]:
    """See `dap_server.listen`."""
    global _listener
    host, port = (LOOPBACK, address) if isinstance(address, int) else address
    if _launched is not None:
        return host, port
    if _listener is not None:
        _check_same(_listener, host, port, token)
        return _listener.address
    shown = token or os.environ.get(TOKEN_VARIABLE)
    try:
        _listener = listener = Listener(host, port, shown or new_token())
    except OSError as error:
        text = f"llm-dap cannot listen on {host}:{port}: {os.strerror(error.errno) if error.errno else error}"
        raise OSError(error.errno, text) from None
    where, bound = listener.address
    line = f"llm-dap listens on {where}:{bound}" + ("" if shown else f" with the token {listener.token}")
    in_children(_forked)
    atexit.register(_exits, listener)
    try:
        store_token(bound, listener.token)
        atexit.register(_forget, listener)
    except OSError as error:
        line += f" (which is not stored: {error})"
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
    return listener.address


def wait_for_client() -> None:
    """See `dap_server.wait_for_client`."""
    if _launched is not None:
        return
    if _listener is None:
        raise RuntimeError("this process does not listen: call dap_server.listen first")
    _listener.wait()


def is_client_connected() -> bool:
    """See `dap_server.is_client_connected`."""
    return _attached() is not None


def ends(code: int) -> None:
    """The program is about to end: an editor that is attached hears how."""
    session = _listener.attached if _listener is not None else None
    if session is not None:
        session.connection.event("exited", ExitedEventBody(exit_code=code))


def breakpoint() -> None:
    """See `dap_server.breakpoint`."""
    session = _attached()
    if session is not None:
        from dap_server.engine.requests.attaching import stand

        stand(session, sys._getframe(2))


def _attached() -> EngineSession | None:
    if _launched is not None:
        return _launched if _launched.models is not None and not _launched.is_detached else None
    return _listener.attached if _listener is not None else None


def _check_same(listener: Listener, host: str, port: int, token: str | None) -> None:
    """Raises RuntimeError."""
    here, bound = listener.address
    if (port and (host, port) != (here, bound) and port != bound) or (token and token != listener.token):
        raise RuntimeError(f"this process listens on {here}:{bound} already, at another address or with another token")


def _keep_alive(connection: socket.socket) -> None:
    """Has the system notice within a minute that the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _wait_for_imports() -> None:
    """Two threads that import packages which import each other may see one of them unfinished."""
    while any(_is_unfinished(name) for name in ("torch", "transformers")):
        time.sleep(0.05)


def _is_unfinished(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def _forget(listener: Listener) -> None:
    if os.getpid() == listener.pid:
        forget_token(listener.address[1])


def _exits(listener: Listener) -> None:
    """The interpreter is about to end: by which status, only who has run the program can know."""
    session = listener.attached if os.getpid() == listener.pid else None
    if session is not None:
        session.connection.event("terminated")


def _forked() -> None:
    global _listener, _launched
    _launched = None
    if _listener is not None:
        _listener.abandon()
        _listener = None


_listener: Listener | None = None
_launched: EngineSession | None = None
