"""The map of the loaded model, for clients that have no file of it."""

from __future__ import annotations

from dap_server.engine.anatomy.mapping import map_of
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.text import write_map
from dap_server.protocol.llm.map import MapArguments, MapResponseBody
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/map")
def map_text(session: EngineSession, args: MapArguments) -> MapResponseBody:
    """The same text as `llm-dap map` writes. On the model thread, whose random state stays as it was."""
    loaded = session.ready.loaded

    def job() -> MapResponseBody:
        name = str(loaded.model.name_or_path) if hasattr(loaded.model, "name_or_path") else ""
        return MapResponseBody(text=write_map(map_of(loaded.model, name, loaded.task)))

    return session.on_model_thread(job)
