"""Errors that a request may end with, and their one mapping to a DAP error response.

    RequestError            whose fault it is decides whether the editor shows it
    ├── InvalidArguments    the request does not fit its definition; names the path ($.threadId)
    ├── NotStopped          allowed only while the model is stopped
    ├── Cancelled           a `cancel` request, or a resume, ended it
    └── UnknownRequest      no such command here

A handler raises; nothing but the connection's dispatcher answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """The request cannot be done. The text says what to do about it.

    Attributes:
        id: stable number of the kind of error, for clients.
        show_user: whether an editor shows the text in a dialog rather than in its log.
    """

    id = 1
    show_user = True

    @property
    def message(self) -> str:
        """The short form that DAP puts in `Response.message`; a few values are machine readable."""
        return str(self)


class InvalidArguments(RequestError):
    id = 2
    show_user = False


class NotStopped(RequestError):
    id = 3
    show_user = False

    def __init__(self, text: str = "the model is running: pause it first") -> None:
        super().__init__(text)

    @property
    def message(self) -> str:
        return "notStopped"


class Cancelled(RequestError):
    id = 4
    show_user = False

    def __init__(self, text: str = "cancelled") -> None:
        super().__init__(text)

    @property
    def message(self) -> str:
        return "cancelled"


class UnknownRequest(RequestError):
    id = 5
    show_user = False


class Unauthorized(RequestError):
    """The client has not shown the token that the server printed."""

    id = 6


class InternalError(RequestError):
    """An exception of our own code: answers the one request that met it, and the session goes on."""

    id = 7
    show_user = False


class RemoteError(RequestError):
    """An error response of a peer, passed on as it came."""

    def __init__(self, message: str, text: str, id: int, show_user: bool) -> None:
        super().__init__(text)
        self._message = message
        self.id = id
        self.show_user = show_user

    @property
    def message(self) -> str:
        return self._message


def did_you_mean(name: str, known: Iterable[str], count: int = 3) -> str:
    """`; did you mean 'a' or 'b'?` for the names nearest to a misspelt one, empty when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
