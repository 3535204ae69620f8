"""A client of the language server: pygls' own, over stdio against the real process, without `async` in the tests."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types
from pygls.lsp.client import LanguageClient

T = TypeVar("T")
SECONDS = 60.0
"""After which a test gives up waiting: far more than anything takes."""

MAP_URI = "file:///maps/atlas.llmmap"
DOCUMENT = types.TextDocumentIdentifier(MAP_URI)


class Editor:
    """What an editor does. Whatever the server sends is kept."""

    def __init__(self, runner: asyncio.Runner, options: list[str] | None = None) -> None:
        self._runner = runner
        self.client = LanguageClient("tests", "1")
        self.diagnostics: dict[str, types.PublishDiagnosticsParams] = {}
        self.messages: list[str] = []
        self.edits: list[types.ApplyWorkspaceEditParams] = []
        self._news = asyncio.Event()
        self._listen()
        command = [*(options or []), "-m", "dap_server", "language-server"]
        self.wait(self.client.start_io(sys.executable, *command, env=os.environ))

    def _listen(self) -> None:
        def published(params: types.PublishDiagnosticsParams) -> None:
            self.diagnostics[params.uri] = params
            self._news.set()

        def shown(params: types.ShowMessageParams) -> None:
            self.messages.append(params.message)
            self._news.set()

        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.edits.append(params)
            return types.ApplyWorkspaceEditResult(applied=True)

        feature: Any = self.client.feature  # has no types
        feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(published)
        feature(types.WINDOW_SHOW_MESSAGE)(shown)
        feature(types.WORKSPACE_APPLY_EDIT)(apply)

    @property
    def process(self) -> asyncio.subprocess.Process:
        process = self.client._server
        assert process is not None, "the server has been started"
        return process

    def wait(self, awaited: Awaitable[T]) -> T:
        async def within_time() -> T:
            return await asyncio.wait_for(awaited, SECONDS)

        return self._runner.run(within_time())

    def until(self, happened: Callable[[], Any]) -> None:
        """Waits for news until it has."""

        async def look() -> None:
            while not happened():
                self._news.clear()
                await self._news.wait()

        self.wait(look())

    def initialize(
        self, folder: Path | None = None, encodings: list[types.PositionEncodingKind | str] | None = None
    ) -> types.InitializeResult:
        capabilities = types.ClientCapabilities(general=types.GeneralClientCapabilities(position_encodings=encodings))
        folders = [types.WorkspaceFolder(folder.as_uri(), folder.name)] if folder else None
        params = types.InitializeParams(capabilities, process_id=os.getpid(), workspace_folders=folders)
        result = self.wait(self.client.initialize_async(params))
        self.client.initialized(types.InitializedParams())
        return result

    def open(self, text: str, uri: str = MAP_URI) -> str:
        item = types.TextDocumentItem(uri, types.LanguageKind("python"), 1, text)
        item.language_id = "llmmap"
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return uri

    def change(self, version: int, *changes: types.TextDocumentContentChangeEvent, uri: str = MAP_URI) -> None:
        document = types.VersionedTextDocumentIdentifier(version, uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, list(changes)))

    def close(self, uri: str = MAP_URI) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(document))

    def problems(self, version: int = 1, uri: str = MAP_URI) -> list[types.Diagnostic]:
        """Of a version of the document, as soon as they have come."""
        self.until(lambda: uri in self.diagnostics and self.diagnostics[uri].version == version)
        return list(self.diagnostics[uri].diagnostics)

    def ask(self, method: str, **fields: Any) -> Any:
        """The answer to one of our own requests, as objects with the names on the wire."""
        return self.wait(self.client.protocol.send_request_async(method, fields))

    def end(self) -> int:
        """Says goodbye as the protocol asks for. Returns the exit status."""

        async def goodbye() -> int:
            await self.client.shutdown_async(None)
            self.client.exit(None)
            return await self.ended()

        return self.wait(goodbye())

    async def ended(self) -> int:
        status = await self.process.wait()
        await self.client.stop()  # type: ignore[no-untyped-call]
        return status
