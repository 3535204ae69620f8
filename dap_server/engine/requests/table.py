"""The engine's table of requests; the modules beside this one fill it."""

from __future__ import annotations

from dap_server.engine.session import EngineSession
from dap_server.wire.handlers import RequestTable

requests: RequestTable[EngineSession] = RequestTable()
