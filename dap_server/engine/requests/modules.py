"""What the model is made of, and the files that it is written in: modules, loadedSources."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version

from dap_server.engine.anatomy.modules import is_called, source_of_class
from dap_server.engine.requests.stack import map_source
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.addresses import address_text
from dap_server.protocol.llm.modules import ModelModule
from dap_server.protocol.requests import (
    LoadedSourcesArguments,
    LoadedSourcesResponseBody,
    ModulesArguments,
    ModulesResponseBody,
)

LIBRARIES = ("torch", "transformers")
"""Whose classes are nobody's own code."""


@requests.request()
def modules(session: EngineSession, args: ModulesArguments) -> ModulesResponseBody:
    """The modules of the model in their order, in pages; each is known by its path, `.` for the whole model.

    None before a program has called a model.
    """
    anatomy = session.ready.anatomy
    paths = [] if anatomy.is_empty else list(anatomy.modules)
    start = max(args.start_module or 0, 0)
    page = paths[start : start + args.module_count] if args.module_count else paths[start:]
    return ModulesResponseBody(modules=[_module(session, path) for path in page], total_modules=len(paths))


def _module(session: EngineSession, path: str) -> ModelModule:
    debuggee = session.ready
    module = debuggee.anatomy.modules[path]
    source, library = source_of_class(type(module)), type(module).__module__.partition(".")[0]
    first = next(module.parameters(), None)
    return ModelModule(
        id=path or ".",
        name=debuggee.anatomy.name_of(path),
        path=session.paths.to_client(source.path) if source else None,
        line=source.line if source else None,
        is_user_code=library not in LIBRARIES,
        version=_version(library),
        symbol_status="runs" if is_called(module) else "a list, which is not called itself",
        address_range=address_text(debuggee.stepper.regions.address(path, "before")),
        type=type(module).__name__,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        dtype=str(first.dtype).removeprefix("torch.") if first is not None else None,
        device=str(first.device) if first is not None else None,
    )


@functools.cache
def _version(library: str) -> str | None:
    """Of the package that a class comes from."""
    if library not in LIBRARIES:
        return None
    try:
        return version(library)
    except PackageNotFoundError:
        return None


@requests.request()
def loaded_sources(session: EngineSession, _args: LoadedSourcesArguments) -> LoadedSourcesResponseBody:
    """The map in use, and the Python files of the model's classes, in the order of its modules."""
    map = session.ready.map
    if session.ready.anatomy.is_empty:
        return LoadedSourcesResponseBody(sources=[])
    sources = [map_source(map.path, map.name)] if map is not None else []
    found = (source_of_class(type(module)) for module in session.ready.anatomy.modules.values())
    files = dict.fromkeys(source.path for source in found if source is not None)
    sources += [session.source(path) for path in files]
    return LoadedSourcesResponseBody(sources=sources)
