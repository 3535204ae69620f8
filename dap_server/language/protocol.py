"""pygls' protocol, where the specification asks for something else: where lines end, and an answer to every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInternalError, JsonRpcInvalidParams
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    LanguageServerProtocol,
    default_converter,
    lsp_method,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dap_server.language.server import MapLanguageServer

IGNORED = JsonRPCNotification(method="", jsonrpc="", params=None)
"""What stands for a message that has been answered: pygls passes over messages of no JSON-RPC version."""


class MapProtocol(LanguageServerProtocol):
    """Documents are held by `Documents`: pygls' own have a line end wherever Python's `splitlines` sees one."""

    _server: MapLanguageServer

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A request that cannot be read is answered with an error, where pygls leaves its client waiting."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "id" not in data or "method" not in data:
                raise
            answer = JsonRpcInvalidParams(message=f"{data['method']}: {_reason(error)}")
            self._send_response(data["id"], error=answer.to_response_error())
            return IGNORED

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Iterator[Any]:
        self._server.documents.open(params.text_document)
        yield from self._user_handler(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Iterator[Any]:
        self._server.documents.change(params.text_document, params.content_changes)
        yield from self._user_handler(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Iterator[Any]:
        self._server.documents.close(params.text_document.uri)
        yield from self._user_handler(types.TEXT_DOCUMENT_DID_CLOSE, params)

    def _user_handler(self, method: str, params: Any) -> Iterator[Any]:
        if (handler := self.fm.features.get(method)) is not None:
            yield handler, (params,), None


def make_converter() -> Any:
    """For cattrs. Arguments of our own requests arrive as they are, for msgspec; pygls would make tuples of them."""
    converter: Any = default_converter()  # type: ignore[no-untyped-call]
    converter.register_structure_hook(JsonRPCRequestMessage, lambda data, kind: kind(**data))
    return converter


def arguments(params: Any, kind: type[msgspec.Struct]) -> Any:
    """Of one of our own requests. Raises JsonRpcInvalidParams, with the field that is wrong."""
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise JsonRpcInvalidParams(message=str(error)) from None


def _reason(error: JsonRpcException) -> str:
    cause = error.__cause__
    if isinstance(error, JsonRpcInternalError) or cause is None:
        return "the message is malformed"
    notes = [str(inner) for inner in getattr(cause, "exceptions", ())]
    return "; ".join(notes) or "the message is malformed"
