"""What a condition has raised: exceptionInfo."""

from __future__ import annotations

from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.requests import ExceptionInfoArguments, ExceptionInfoResponseBody
from dap_server.protocol.types import ExceptionDetails
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED)
def exception_info(session: EngineSession, _args: ExceptionInfoArguments) -> ExceptionInfoResponseBody:
    """Of a stop with the reason `exception`."""
    failure, place = session.stop.failure, session.stop.place
    if failure is None:
        raise InvalidArguments("'exceptionInfo': no exception has stopped this thread, at `$.threadId`")
    where = f"{failure.text}\nin the condition '{failure.condition}'\n{place}"
    return ExceptionInfoResponseBody(
        exception_id=failure.error,
        break_mode="always",
        description=where,
        details=ExceptionDetails(message=failure.text, type_name=failure.error, full_type_name=failure.error),
    )
