"""Our own messages have a schema too, and it is what tests hold them against."""

from __future__ import annotations

from typing import Any

import pytest

from dap_server.protocol.llm.language import LANGUAGE_REQUESTS
from dap_server.protocol.llm.tables import LLM_EVENTS, LLM_REQUESTS
from dap_server.protocol.schema import own_schema
from tests.schema import validate


def test_every_own_message_is_in_it() -> None:
    schema = own_schema()
    assert schema["requests"].keys() == LLM_REQUESTS.keys()
    assert schema["events"].keys() == LLM_EVENTS.keys()
    assert schema["languageRequests"].keys() == LANGUAGE_REQUESTS.keys()


def test_every_launch_option_has_a_description() -> None:
    launch = own_schema()["definitions"]["LaunchArguments"]["properties"]
    assert launch["stopAtEnd"]["description"]
    assert all(option.get("description") for option in launch.values())


GOOD: dict[str, Any] = {"seq": 1, "type": "request", "command": "llm/runToStep", "arguments": {"step": 3}}


def test_a_right_message_passes() -> None:
    validate(GOOD, strict=True)
    validate({**GOOD, "arguments": {"step": 3, "path": "model.layers.2", "phase": "after"}}, strict=True)


@pytest.mark.parametrize(
    "arguments", [{}, {"step": "3"}, {"step": 3, "pahse": "after"}, {"step": 3, "phase": "around"}], ids=str
)
def test_a_wrong_one_does_not(arguments: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="runToStep"):
        validate({**GOOD, "arguments": arguments}, strict=True)


def test_an_unknown_one_does_not() -> None:
    with pytest.raises(AssertionError, match="none of our"):
        validate({**GOOD, "command": "llm/runToStpe"})
