"""What a debuggee knows of its model by the map."""

from __future__ import annotations

from pathlib import Path

import pytest

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.debuggee import Debuggee
from dap_server.engine.execution.breakpoints import Breakpoint, Wanted
from tests.models.tiny import tiny_model


def test_a_module_that_is_never_called_has_no_breakpoint_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    debuggee = Debuggee(Loaded(tiny_model("mamba"), None), lambda _stop: None, lambda _text: None)

    def placed(name: str) -> Breakpoint:
        return debuggee.set_breakpoints([Wanted(1, name)])[0]

    assert placed("backbone.layers.0.mixer.conv1d").is_verified, "without a map nobody knows"
    debuggee.use_map(None, [], "mamba")
    assert placed("*.conv1d").problem == (
        "'backbone.layers.0.mixer.conv1d' is not called: its weights are used directly: "
        "set the breakpoint on the module around it"
    )
    assert placed("backbone.layers.0.mixer").is_verified
    assert placed("**.mixer*").is_verified
    assert placed("step").is_verified
