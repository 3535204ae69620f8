"""The language server: what each request of the protocol is answered with. Everything runs on its one event loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from dap_server import __version__
from dap_server.language import completion, conditions, hints, hovers, navigation, outline, regenerate, tokens
from dap_server.language.checking import Checking
from dap_server.language.documents import Document, Documents
from dap_server.language.fresh_maps import FreshMapError, FreshMaps, as_model_map
from dap_server.language.models import model_folder
from dap_server.language.protocol import MapProtocol, arguments, make_converter
from dap_server.modelmap.text import MapText, read_map, update
from dap_server.protocol.llm.language import (
    ConditionCompletionArguments,
    ConditionDiagnosticsArguments,
    RegenerateMapArguments,
    RegenerateMapResponse,
)


class MapLanguageServer(LanguageServer):
    """Of documents of the language `llmmap`."""

    def __init__(self) -> None:
        self.documents = Documents()
        self.fresh = FreshMaps()
        self.checking = Checking(self)
        self.was_shut_down = False
        super().__init__("llm-dap", __version__, protocol_cls=MapProtocol, converter_factory=make_converter)

    @property
    def encoding(self) -> str:
        return self.documents.encoding

    def folder_of(self, document: Document) -> Path | None:
        """Of the model that the map's header names."""
        uris = [*self.workspace.folders, *([self.workspace.root_uri] if self.workspace.root_uri else [])]
        return model_folder(document, [Path(path) for uri in uris if (path := to_fs_path(uri))])

    def fresh_of(self, document: Document) -> MapText | None:
        """The map of the model as it is, where it has been made."""
        folder = self.folder_of(document)
        known = self.fresh.known(folder) if folder else None
        return known if isinstance(known, MapText) else None


Handler = Callable[..., Any]
HANDLERS: list[tuple[str, Any, Handler]] = []
"""Method, options, and the function that answers."""


def make_server() -> MapLanguageServer:
    server = MapLanguageServer()
    for method, options, handler in HANDLERS:
        server.feature(method, options)(handler)
    server.command(regenerate.REGENERATE)(regenerate_command)
    return server


def _feature(method: str, options: Any = None) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.append((method, options, handler))
        return handler

    return register


@_feature(types.INITIALIZE)
def initialize(ls: MapLanguageServer, _: types.InitializeParams) -> None:
    ls.documents.encoding = types.PositionEncodingKind(ls.workspace.position_encoding).value


@_feature(types.SHUTDOWN)
def shutdown(ls: MapLanguageServer, _: None) -> None:
    ls.was_shut_down = True


@_feature(types.TEXT_DOCUMENT_DID_OPEN)
def did_open(ls: MapLanguageServer, params: types.DidOpenTextDocumentParams) -> None:
    ls.checking.check(params.text_document.uri)


@_feature(types.TEXT_DOCUMENT_DID_CHANGE)
def did_change(ls: MapLanguageServer, params: types.DidChangeTextDocumentParams) -> None:
    ls.checking.check_soon(params.text_document.uri)


@_feature(types.TEXT_DOCUMENT_DID_CLOSE)
def did_close(ls: MapLanguageServer, params: types.DidCloseTextDocumentParams) -> None:
    ls.checking.forget(params.text_document.uri)


@_feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def document_symbols(ls: MapLanguageServer, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    return outline.symbols(ls.documents.get(params.text_document.uri))


@_feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
def folding_ranges(ls: MapLanguageServer, params: types.FoldingRangeParams) -> list[types.FoldingRange]:
    return outline.folding_ranges(ls.documents.get(params.text_document.uri))


@_feature(types.TEXT_DOCUMENT_HOVER)
def hover(ls: MapLanguageServer, params: types.HoverParams) -> types.Hover | None:
    return hovers.hover(ls.documents.get(params.text_document.uri), params.position)


@_feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=["."]))
def complete(ls: MapLanguageServer, params: types.CompletionParams) -> list[types.CompletionItem]:
    document = ls.documents.get(params.text_document.uri)
    names = conditions.name_completions(document, params.position)
    return names or completion.completions(document, params.position, ls.fresh_of(document))


@_feature(types.TEXT_DOCUMENT_DEFINITION)
def definition(ls: MapLanguageServer, params: types.DefinitionParams) -> list[types.LocationLink]:
    document = ls.documents.get(params.text_document.uri)
    return navigation.definition(document, params.position, ls.folder_of(document), ls.encoding)


@_feature(types.TEXT_DOCUMENT_TYPE_DEFINITION)
def type_definition(ls: MapLanguageServer, params: types.TypeDefinitionParams) -> list[types.LocationLink]:
    document = ls.documents.get(params.text_document.uri)
    return navigation.class_definition(document, params.position, ls.folder_of(document), ls.encoding)


@_feature(types.TEXT_DOCUMENT_IMPLEMENTATION)
def implementation(ls: MapLanguageServer, params: types.ImplementationParams) -> list[types.LocationLink]:
    document = ls.documents.get(params.text_document.uri)
    return navigation.forward_definition(document, params.position, ls.folder_of(document), ls.encoding)


@_feature(types.TEXT_DOCUMENT_REFERENCES)
def references(ls: MapLanguageServer, params: types.ReferenceParams) -> list[types.Location]:
    return navigation.references(ls.documents.get(params.text_document.uri), params.position)


@_feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
def highlights(ls: MapLanguageServer, params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
    return navigation.highlights(ls.documents.get(params.text_document.uri), params.position)


@_feature(types.TEXT_DOCUMENT_DOCUMENT_LINK)
def document_links(ls: MapLanguageServer, params: types.DocumentLinkParams) -> list[types.DocumentLink]:
    document = ls.documents.get(params.text_document.uri)
    return navigation.links(document, ls.folder_of(document))


@_feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, tokens.LEGEND)
def semantic_tokens(ls: MapLanguageServer, params: types.SemanticTokensParams) -> types.SemanticTokens:
    return tokens.semantic_tokens(ls.documents.get(params.text_document.uri))


@_feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_RANGE, tokens.LEGEND)
def semantic_tokens_of_range(ls: MapLanguageServer, params: types.SemanticTokensRangeParams) -> types.SemanticTokens:
    return tokens.semantic_tokens(ls.documents.get(params.text_document.uri), params.range)


@_feature(types.TEXT_DOCUMENT_INLAY_HINT)
def inlay_hints(ls: MapLanguageServer, params: types.InlayHintParams) -> list[types.InlayHint]:
    document = ls.documents.get(params.text_document.uri)
    return hints.inlay_hints(document, params.range, ls.fresh_of(document))


@_feature(types.TEXT_DOCUMENT_FORMATTING)
def formatting(ls: MapLanguageServer, params: types.DocumentFormattingParams) -> list[types.TextEdit]:
    """Columns aligned again; not while something cannot be read, which would be lost."""
    document = ls.documents.get(params.text_document.uri)
    if document.map.problems:
        return []
    return regenerate.edits(document, update(document.text.source, as_model_map(document.map)))


@_feature(
    types.TEXT_DOCUMENT_CODE_ACTION,
    types.CodeActionOptions([types.CodeActionKind.QuickFix, types.CodeActionKind.Source]),
)
def code_actions(ls: MapLanguageServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    document = ls.documents.get(params.text_document.uri)
    return regenerate.code_actions(document, params.context.diagnostics, params.context.only)


@_feature("llm/conditionDiagnostics")
def condition_diagnostics(ls: MapLanguageServer, params: Any) -> Any:
    asked = arguments(params, ConditionDiagnosticsArguments)
    return msgspec.to_builtins(conditions.diagnose(ls.documents, asked))


@_feature("llm/conditionCompletion")
def condition_completion(ls: MapLanguageServer, params: Any) -> Any:
    asked = arguments(params, ConditionCompletionArguments)
    return msgspec.to_builtins(conditions.complete(ls.documents, asked))


@_feature("llm/regenerateMap")
async def regenerate_map(ls: MapLanguageServer, params: Any) -> Any:
    uri = arguments(params, RegenerateMapArguments).uri
    return msgspec.to_builtins(await _regenerate(ls, uri), str_keys=True)


async def regenerate_command(ls: MapLanguageServer, uri: str) -> Any:
    return msgspec.to_builtins(await _regenerate(ls, uri), str_keys=True)


async def _regenerate(ls: MapLanguageServer, uri: str) -> RegenerateMapResponse:
    document = ls.documents.get(uri)
    name = document.map.model
    if not ls.documents.is_open(uri) or not name:
        raise _failed("this document is no open map that names its model in a line '# model: …'")
    try:
        made = as_model_map(read_map(await ls.fresh.text(ls.folder_of(document) or name)))
    except FreshMapError as error:
        raise _failed(f"the map of '{name}' cannot be made: {error}") from None
    made.model = name
    document = ls.documents.get(uri)  # it may have been edited meanwhile
    new = update(document.text.source, made)
    edits = regenerate.edits(document, new)
    moves = regenerate.new_lines(document.map, new)
    if not edits:
        return RegenerateMapResponse(False, moves)
    versioned = types.OptionalVersionedTextDocumentIdentifier(uri, document.version)
    change = types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(versioned, edits)])
    answer = await ls.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(change, "Make the map anew"))
    return RegenerateMapResponse(answer.applied, moves)


def _failed(message: str) -> JsonRpcException:
    return JsonRpcException(message=message, code=types.LSPErrorCodes.RequestFailed.value)
