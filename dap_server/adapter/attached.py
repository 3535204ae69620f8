"""An engine in a program that runs already and listens: reached, and left running when the session ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dap_server.adapter.backend import Backend
from dap_server.adapter.endings import Exit
from dap_server.protocol.attach import AttachArguments
from dap_server.protocol.errors import RequestError
from dap_server.protocol.messages import Message
from dap_server.wire.loopback import HANDSHAKE_SECONDS, connect
from dap_server.wire.tokens import TOKEN_VARIABLE, key, known_token, token_file

if TYPE_CHECKING:
    from dap_server.adapter.session import AdapterSession

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class AttachFailed(RequestError):
    """The program cannot be reached, or lets nobody in; the text says what to change."""

    id = 12


class Attached(Backend):
    """A program that somebody else has started. What it prints stays with it."""

    def __init__(self, session: AdapterSession, attach: AttachArguments, connected: Callable[[], None]) -> None:
        """Connects; `connected` is called once the program can be talked to."""
        super().__init__(session, connected)
        self._attach = attach
        self._has_answered = False
        self._told: Exit | None = None
        self._token, self._token_is_from = _token(attach)
        threading.Thread(target=self._reach, name="attach", daemon=True).start()

    @property
    def pid(self) -> int | None:
        return None

    def kill(self) -> None:
        """Leaves: nobody ends a program from afar that he has not started."""
        if self._connection is not None:
            self._connection.close()
        else:
            self._session.post(lambda: self._ended(None))

    def exits_with(self, code: int) -> None:
        self._told = Exit(code)

    def ended_early(self, exit: Exit | None) -> str:
        where = self._attach.address
        if self._has_answered:
            return f"the program at {where} ended, or could not prepare for an editor: see what it printed"
        return (
            f"the program at {where} closed the connection without a word: the token is wrong, which is "
            f"{self._token_is_from}; or, if the port is forwarded, nothing listens at its other end"
        )

    @property
    def unknown_end(self) -> str:
        return f"the program at {self._attach.address} has ended{'' if self.is_over else ', or the connection is lost'}"

    def stuck(self, seconds: float) -> str:
        return f"the program has been told to end, and has not within {seconds:g} s: it is left to itself\n"

    def _reach(self) -> None:
        """On a thread of its own: a machine that does not answer takes its time."""
        place = self._attach.connect
        try:
            streams = connect(place.port, key(self._token, "engine") if self._token else "", place.host)
        except OSError as error:
            self._failed(
                f"nothing listens at {self._attach.address} ({error.strerror or error}): the program has to call "
                f"dap_server.listen({place.port}), or to be started by 'llm-dap listen --port {place.port}'"
            )
            return
        if not self._token:
            streams.close()
            self._failed(
                f"no token is known for {self._attach.address}: give the one that the program printed as 'token' in "
                f"'connect', or in the environment variable {TOKEN_VARIABLE}; programs of your own on this machine "
                "need none"
            )
            return
        self._session.post(lambda: self._connect(streams))
        self._session.later(HANDSHAKE_SECONDS, self._check_answered)

    def _failed(self, text: str) -> None:
        self._session.post(lambda: self._session.start_failed(self, AttachFailed(text)))

    def _check_answered(self) -> None:
        if not self._has_answered and not self.is_abandoned:
            why = AttachFailed(f"what listens at {self._attach.address} does not answer: is it another program?")
            self._session.start_failed(self, why)

    def _received(self, message: Message) -> None:
        self._has_answered = True
        super()._received(message)

    def _disconnected(self) -> None:
        self._ended(self._told)


def _token(attach: AttachArguments) -> tuple[str | None, str]:
    """The token, if one is known, and where it is from."""
    place = attach.connect
    if place.token is not None:
        return place.token, "the one at `$.connect.token`"
    if place.host in THIS_MACHINE and (known := known_token(place.port)) is not None:
        return known, f"the one in {token_file(place.port)}"
    if given := os.environ.get(TOKEN_VARIABLE):
        return given, f"the one in {TOKEN_VARIABLE}"
    return None, "nowhere"
