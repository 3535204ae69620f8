"""The command line of `llm-dap attach`."""

from __future__ import annotations

from typing import Any

import pytest

from dap_server.terminal import attaching


@pytest.mark.parametrize(
    ("typed", "host", "port"),
    [("5678", "127.0.0.1", 5678), ("gpu:80", "gpu", 80), ("[::1]:65535", "::1", 65535), (":1", "127.0.0.1", 1)],
)
def test_an_address_is_a_port_of_this_machine_or_of_another(
    monkeypatch: pytest.MonkeyPatch, typed: str, host: str, port: int
) -> None:
    asked: list[dict[str, Any]] = []

    def debug(options: dict[str, Any], *_: object, **__: object) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(attaching, "debug", debug)
    assert attaching.attach([typed, "--script", "/dev/null"]) == 0
    assert asked == [{"connect": {"host": host, "port": port}}]


@pytest.mark.parametrize("typed", ["gpu", "gpu:", "0", "65536", "-1x", "gpu:http"])
def test_what_is_no_address_is_refused(capsys: pytest.CaptureFixture[str], typed: str) -> None:
    with pytest.raises(SystemExit):
        attaching.attach([typed])
    assert "[HOST:]PORT" in capsys.readouterr().err
