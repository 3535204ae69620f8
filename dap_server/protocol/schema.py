"""The JSON schema of what is ours in the protocols: the launch and attach configurations and all `llm/…` messages.

Made from the Structs, for editors that check launch.json and for clients that generate their own types.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dap_server.protocol.attach import AttachArguments
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.llm.language import LANGUAGE_REQUESTS
from dap_server.protocol.llm.tables import LLM_EVENTS, LLM_REQUESTS
from dap_server.protocol.tables import RequestType


def own_schema() -> dict[str, Any]:
    """`definitions`; `launch` and `attach`; and by name on the wire `requests` (arguments, body) and `events` (body).

    `languageRequests` are those of the language server.
    """
    types = [t for table in (LLM_REQUESTS, LANGUAGE_REQUESTS) for request in table.values() for t in request if t]
    types += [t for t in LLM_EVENTS.values() if t is not None]
    wanted = list(dict.fromkeys([LaunchArguments, AttachArguments, *types]))
    refs, definitions = msgspec.json.schema_components(wanted, ref_template="#/definitions/{name}")
    ref = dict(zip(wanted, refs, strict=True))

    def requests(table: dict[str, RequestType]) -> dict[str, dict[str, Any]]:
        return {
            command: {name: ref[t] for name, t in (("arguments", r.arguments), ("body", r.body)) if t is not None}
            for command, r in table.items()
        }

    return {
        "launch": ref[LaunchArguments],
        "attach": ref[AttachArguments],
        "requests": requests(LLM_REQUESTS),
        "languageRequests": requests(LANGUAGE_REQUESTS),
        "events": {event: {"body": ref[t]} if t is not None else {} for event, t in LLM_EVENTS.items()},
        "definitions": definitions,
    }
