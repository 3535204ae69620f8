"""Loading a model: from the client's `launch` to a model that is ready, with progress that can be cancelled."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from dap_server.adapter.endings import ProcessEnded
from dap_server.protocol.attach import AttachArguments, Configuration
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import (
    ProcessEventBody,
    ProgressEndEventBody,
    ProgressStartEventBody,
    ProgressUpdateEventBody,
)
from dap_server.protocol.llm.control import LoadingEventBody
from dap_server.wire.reply import Reply

if TYPE_CHECKING:
    from dap_server.adapter.backend import Backend
    from dap_server.adapter.session import AdapterSession

LOADING = "the model is not loaded yet"

_numbers = itertools.count(1)


class LoadFailed(RequestError):
    """The engine ended before the model was loaded."""

    id = 11


class Loading:
    """One load. Its reply settles when the model is ready, when loading failed, or when it was cancelled."""

    def __init__(self, session: AdapterSession, configuration: Configuration) -> None:
        self.reply: Reply[None] = Reply()
        self.progress_id = f"load-{next(_numbers)}"
        self._session, self._configuration = session, configuration
        self._shows = session.shows_progress
        if self._shows:
            session.client.event(
                "progressStart",
                ProgressStartEventBody(
                    progress_id=self.progress_id,
                    title=configuration.title,
                    message="starting Python",
                    percentage=0,
                    cancellable=True,
                ),
            )

    def connected(self, backend: Backend) -> None:
        """The engine can be talked to: has it load."""
        if isinstance(self._configuration, AttachArguments):
            backend.request("attach", self._configuration).then(lambda answer: self._loaded(backend, answer))
            return
        self._session.client.event(
            "process",
            ProcessEventBody(
                name=self._configuration.subject,
                system_process_id=backend.pid,
                is_local_process=True,
                start_method="launch",
            ),
        )
        backend.request("launch", self._configuration).then(lambda answer: self._loaded(backend, answer))

    def reached(self, at: LoadingEventBody) -> None:
        if self._shows and not self.reply.is_settled:
            self._session.client.event(
                "progressUpdate",
                ProgressUpdateEventBody(progress_id=self.progress_id, message=at.message, percentage=at.percentage),
            )

    def cancel(self) -> None:
        """Stops loading by ending the process: a load may sit in one long read. The session ends quietly."""
        if not self.reply.is_settled:
            self._session.drop()
            self.ended_on_request("loading was cancelled\n")

    def ended_on_request(self, text: str = "") -> None:
        """The client did not want to wait. A failed `launch` would have an editor show an error for that."""
        self._end("cancelled")
        self.reply.settle(None)
        if text:
            self._session.output(text)
        self._session.terminated()

    def replaced(self) -> None:
        """Another load takes the place of this one."""
        self._end("replaced")
        self.reply.settle(None)

    def fail(self, error: RequestError) -> None:
        """The model cannot be loaded: `launch` fails with the reason, and the session is over."""
        if not self.reply.is_settled:
            self._session.drop()
            self._end("failed")
            self.reply.fail(error)
            self._session.terminated()

    def process_ended(self, why: str) -> None:
        """The engine is gone before it was ready."""
        self.fail(LoadFailed(why))

    def _loaded(self, backend: Backend, answer: Reply[Any]) -> None:
        if self.reply.is_settled or backend.is_abandoned:
            return
        try:
            answer.result()
        except ProcessEnded:
            return  # how it ended is about to be known
        except RequestError as error:
            self.fail(error)
            return
        if not self._configuration.no_debug:
            self._session.use_map(backend, self._configuration)
        self._place_breakpoints(backend)

    def _place_breakpoints(self, backend: Backend) -> None:
        wanted = self._session.breakpoints.to_place()

        def placed(answer: Reply[None]) -> None:
            if self.reply.is_settled or backend.is_abandoned:
                return
            try:
                answer.result()
            except ProcessEnded:
                return
            except RequestError as error:
                self.fail(error)
                return
            if self._session.breakpoints.to_place() != wanted:  # the client has changed them meanwhile
                self._place_breakpoints(backend)
                return
            self._end("ready")
            self.reply.settle(None)
            self._session.model_is_ready(backend)

        self._session.place_breakpoints().then(placed)

    def _end(self, message: str) -> None:
        if self._shows:
            body = ProgressEndEventBody(progress_id=self.progress_id, message=message)
            self._session.client.event("progressEnd", body)
