"""What may be asked of attention."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.attention import AttentionArguments
from dap_server.protocol.messages import Request
from dap_server.wire.handlers import decode_arguments


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keys": {"start": -1, "end": 7}}, r">= 0 - at `\$.keys.start"),
        ({"maxCells": 0}, r">= 1 - at `\$.maxCells"),
        ({"maxCells": 10**12}, r"<= 4194304 - at `\$.maxCells"),
        ({"layer": 1.5}, r"\$.layer"),
        ({"dtype": "int8"}, r"'int8' - at `\$.dtype"),
    ],
    ids=str,
)
def test_what_no_client_should_send_is_refused_before_it_is_tried(options: dict[str, Any], reason: str) -> None:
    arguments = msgspec.Raw(json.dumps({"frameId": 1, **options}).encode())
    request = Request(seq=1, command="llm/attention", arguments=arguments)
    with pytest.raises(InvalidArguments, match=reason):
        decode_arguments(msgspec.json.Decoder(AttentionArguments), request)
