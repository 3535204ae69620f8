"""The table of requests: one typed function per request, which says when it is allowed.

    table = RequestTable[Session]()

    @table.request(when=When.STOPPED)
    def stack_trace(session: Session, args: StackTraceArguments) -> StackTraceResponseBody: ...

The command is the function's name (`stack_trace` is `stackTrace`, `continue_` is `continue`), the arguments are decoded
into the annotation of `args`, and what is raised becomes the error response.
"""

from __future__ import annotations

import enum
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from dap_server.protocol.errors import InternalError, InvalidArguments, RequestError, UnknownRequest, did_you_mean
from dap_server.protocol.messages import Request

Session = TypeVar("Session")
Function = TypeVar("Function", bound=Callable[..., Any])


class When(enum.IntEnum):
    """The state that a request needs at least."""

    ANY_TIME = 0
    LAUNCHED = 1
    STOPPED = 2


class Handler(Generic[Session]):
    """One request: how to call it, when, and what it lets `initialize` promise.

    Its annotations are read when the first one comes: most sessions see a few of all requests.
    """

    def __init__(
        self, command: str, function: Callable[..., Any], when: When, needs_model: bool, capabilities: dict[str, Any]
    ) -> None:
        self.command, self.function, self.when, self.capabilities = command, function, when, capabilities
        self.needs_model = needs_model
        """Whether it is about a model, and no program that has not called one."""

    @cached_property
    def arguments(self) -> Any:
        """Type of the arguments; `Request` for a handler that wants the request itself, None for one without any."""
        code = self.function.__code__
        return get_type_hints(self.function)[code.co_varnames[1]] if code.co_argcount > 1 else None

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Any] | None:
        return None if self.arguments in (None, Request) else msgspec.json.Decoder(self.arguments)

    def __call__(self, session: Session, request: Request) -> Any:
        """Decodes the arguments and calls the function.

        Raises:
            RequestError: what the client should be told.
        """
        try:
            if self.arguments is None:
                return self.function(session)
            if self.decoder is None:
                return self.function(session, request)
            return self.function(session, decode_arguments(self.decoder, request))
        except RequestError:
            raise
        except Exception as error:  # an error of ours ends one request, never the session
            traceback.print_exc()
            raise InternalError(f"internal error in '{self.command}': {type(error).__name__}: {error}") from error


def decode_arguments(decoder: msgspec.json.Decoder[Any], request: Request) -> Any:
    """Raises InvalidArguments with the path of what is wrong."""
    try:
        return decoder.decode(bytes(request.arguments) or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        path = "" if "`$" in str(error) else " - at `$`"
        raise InvalidArguments(f"'{request.command}': {error}{path}") from None


class RequestTable(Generic[Session]):
    """All requests of one side."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler[Session]] = {}

    def request(
        self,
        when: When = When.ANY_TIME,
        command: str | None = None,
        needs_model: bool | None = None,
        **capabilities: Any,
    ) -> Callable[[Function], Function]:
        """Registers a function; `capabilities` are the fields of `Capabilities` that it makes true.

        Our own requests are about a model unless one says otherwise; of DAP's, those at a stop may be about Python
        alone.
        """

        def register(function: Function) -> Function:
            name = command or _command(function.__name__)
            assert name not in self.handlers, f"two handlers for {name}"
            is_about_model = name.startswith("llm/") if needs_model is None else needs_model
            self.handlers[name] = Handler(name, function, when, is_about_model, capabilities)
            return function

        return register

    def find(self, command: str) -> Handler[Session]:
        """Raises UnknownRequest, with the nearest commands."""
        handler = self.handlers.get(command)
        if handler is None:
            raise UnknownRequest(f"unknown request '{command}'{did_you_mean(command, self.handlers)}")
        return handler

    def capabilities(self) -> dict[str, Any]:
        """What the registered handlers promise together, by field of `Capabilities`."""
        promised: dict[str, Any] = {}
        for handler in self.handlers.values():
            promised.update(handler.capabilities)
        return promised


def _command(function_name: str) -> str:
    first, *rest = function_name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)
