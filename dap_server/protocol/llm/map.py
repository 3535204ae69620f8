"""The map of the loaded model as text."""

from __future__ import annotations

from dap_server.protocol.messages import Struct


class MapArguments(Struct):
    """`llm/map`: every place of the model on a line; docs/model-map.md says how it is written."""


class MapResponseBody(Struct):
    text: str
