"""The three kinds of message, and what all Structs of the protocol are made of.

Arguments and bodies stay raw until the receiver knows their type.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

Seq = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""The number of a message; each side counts its own from 1. Envelopes may have 0 too, where Helix begins."""
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
UInt31 = Annotated[int, Meta(ge=0, le=2**31 - 1)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
SafeInt = Annotated[int, Meta(ge=-(2**53 - 1), le=2**53 - 1)]
"""What a client written in JavaScript can count exactly."""
SafeUInt = Annotated[int, Meta(ge=0, le=2**53 - 1)]

ABSENT = Raw()
"""What `arguments` and `body` hold when the message has none. It is false, so `if request.arguments` asks for it."""

_NULL = Raw(b"null")


class Struct(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base of everything on the wire: camelCase there, snake_case here, and None is left out.

    Subclasses name what is required first; they are made with keywords.
    """


class Request(Struct, tag_field="type", tag="request"):
    """Asks the other side for something."""

    seq: UInt31
    command: str
    arguments: Raw = ABSENT

    def __post_init__(self) -> None:
        self.arguments = _present(self.arguments)


class Response(Struct, tag_field="type", tag="response"):
    """Answers one request."""

    seq: UInt31
    request_seq: UInt31 = msgspec.field(name="request_seq")
    success: bool
    command: str
    message: str | None = None
    """The error in short form; `cancelled` and `notStopped` mean something to clients."""
    body: Raw = ABSENT

    def __post_init__(self) -> None:
        self.body = _present(self.body)


class Event(Struct, tag_field="type", tag="event"):
    """Tells the client what happened."""

    seq: UInt31
    event: str
    body: Raw = ABSENT

    def __post_init__(self) -> None:
        self.body = _present(self.body)


Message = Request | Response | Event


def _present(raw: Raw) -> Raw:
    """`raw`, or the one ABSENT: msgspec leaves out that very object, and writes any other empty Raw as nothing."""
    return raw if raw and raw != _NULL else ABSENT
