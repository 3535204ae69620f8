"""Diagnostics of the open maps: at once what the text shows, later what the model's own map shows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from dap_server.language.diagnostics import diagnostics

if TYPE_CHECKING:
    from dap_server.language.server import MapLanguageServer

DELAY = 0.2
"""Seconds after a change: who types is not told of every letter."""


class Checking:
    """Of each document. Used from the event loop alone."""

    def __init__(self, server: MapLanguageServer) -> None:
        self._server = server
        self._soon: dict[str, asyncio.TimerHandle] = {}
        self._comparing: dict[str, tuple[Path, asyncio.Task[None]]] = {}

    def check_soon(self, uri: str) -> None:
        self._not_soon(uri)
        self._soon[uri] = asyncio.get_running_loop().call_later(DELAY, self.check, uri)

    def check(self, uri: str) -> None:
        """Publishes what is known. What the model's map shows follows, when it has been made."""
        self._not_soon(uri)
        if not self._server.documents.is_open(uri):
            return
        document = self._server.documents.get(uri)
        folder = self._server.folder_of(document)
        fresh = self._server.fresh.known(folder) if folder else None
        found = diagnostics(document, folder, fresh)
        self._server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri, found, version=document.version)
        )
        if folder is None or fresh is not None:
            self._stop_comparing(uri)
        elif self._comparing.get(uri, (None,))[0] != folder:
            self._stop_comparing(uri)
            self._comparing[uri] = folder, asyncio.get_running_loop().create_task(self._compare(uri, folder))

    def forget(self, uri: str) -> None:
        """The document is closed: nothing is worked out for it any more, and nothing is wrong with it."""
        self._not_soon(uri)
        self._stop_comparing(uri)
        self._server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))

    async def _compare(self, uri: str, folder: Path) -> None:
        await self._server.fresh.make(folder)
        del self._comparing[uri]
        self.check(uri)
        workspace = self._server.client_capabilities.workspace
        if workspace and workspace.inlay_hint and workspace.inlay_hint.refresh_support:
            self._server.workspace_inlay_hint_refresh(None)

    def _not_soon(self, uri: str) -> None:
        if (timer := self._soon.pop(uri, None)) is not None:
            timer.cancel()

    def _stop_comparing(self, uri: str) -> None:
        _, task = self._comparing.pop(uri, (None, None))
        if task is not None:
            task.cancel()
