"""What has stopped a run with the reason `exception`: exceptionInfo."""

from __future__ import annotations

from typing import Any

from dap_server.engine.analysis.anomalies.explaining import Explanation
from dap_server.engine.execution.stops import Failure
from dap_server.engine.inspection.tracebacks import Raised, described
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.places import Place
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.requests import ExceptionInfoArguments, ExceptionInfoResponseBody
from dap_server.protocol.types import ExceptionDetails
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED)
def exception_info(session: EngineSession, _args: ExceptionInfoArguments) -> ExceptionInfoResponseBody:
    """Of a stop with the reason `exception`."""
    stop, debuggee = session.stop, session.ready
    if stop.uncaught is not None:
        error = stop.uncaught.error
        return _of_uncaught(session.on_model_thread(lambda: described(error)))
    if stop.raised is not None:
        return _of_python(stop.raised)
    if stop.failure is not None:
        return _of_condition(stop.failure, stop.place)
    if stop.anomaly is None:
        raise InvalidArguments("'exceptionInfo': no exception has stopped this thread, at `$.threadId`")
    return _of_anomaly(session.on_model_thread(lambda: debuggee.explainer.explain(stop)))


def _of_uncaught(raised: Raised) -> ExceptionInfoResponseBody:
    return ExceptionInfoResponseBody(
        exception_id=raised.kind,
        break_mode="unhandled",
        description=raised.message or raised.kind,
        details=_details(raised),
    )


def _of_python(raised: dict[str, Any]) -> ExceptionInfoResponseBody:
    """As debugpy tells it."""
    details = raised.get("details") or {}
    kind = str(raised.get("exceptionId") or details.get("typeName") or "")
    return ExceptionInfoResponseBody(
        exception_id=kind,
        break_mode="userUnhandled" if raised.get("breakMode") == "userUnhandled" else "always",
        description=raised.get("description") or kind,
        details=ExceptionDetails(
            message=details.get("message"),
            type_name=kind.rpartition(".")[2],
            full_type_name=kind,
            stack_trace=details.get("stackTrace"),
        ),
    )


def _details(raised: Raised) -> ExceptionDetails:
    return ExceptionDetails(
        message=raised.message,
        type_name=raised.kind.rpartition(".")[2],
        full_type_name=raised.kind,
        stack_trace=raised.trace or None,
        inner_exception=[_details(one) for one in raised.because] or None,
    )


def _of_condition(failure: Failure, place: Place) -> ExceptionInfoResponseBody:
    return ExceptionInfoResponseBody(
        exception_id=failure.error,
        break_mode="always",
        description=f"{failure.text}\nin the condition '{failure.condition}'\n{place}",
        details=ExceptionDetails(message=failure.text, type_name=failure.error, full_type_name=failure.error),
    )


def _of_anomaly(explanation: Explanation) -> ExceptionInfoResponseBody:
    origins = [ExceptionDetails(message=origin.text, type_name=origin.what) for origin in explanation.origins]
    return ExceptionInfoResponseBody(
        exception_id=explanation.id,
        break_mode="always",
        description=explanation.text,
        details=ExceptionDetails(
            message=explanation.text,
            type_name=explanation.label,
            full_type_name=explanation.id,
            stack_trace=explanation.trace,
            inner_exception=origins or None,
        ),
    )
