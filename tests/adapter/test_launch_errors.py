"""A launch that cannot work fails with what to do about it, and the session is over: nothing is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapter.conftest import LAUNCH, StartAdapter, adapters
from tests.adapter.peer import Adapter, Json, error_of
from tests.conftest import EXAMPLE_MODEL


def failure(adapter: Adapter, configuration: Json) -> str:
    """The error of a launch that fails. It comes before `terminated`, and nothing runs any more."""
    launched = adapter.send_valid("launch", configuration)
    response = adapter.answer(launched)
    adapter.event("terminated")
    assert adapter.order("launch", "terminated", "exited") == ["launch", "terminated"]
    assert response["body"]["error"]["showUser"] is True
    return error_of(response)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"promt": "x"}, ["unknown option 'promt'", "did you mean 'prompt'"]),
        ({"stopOnEnty": True}, ["unknown option 'stopOnEnty'", "did you mean 'stopOnEntry'"]),
        ({"generations": {}}, ["unknown option 'generations'", "did you mean 'generation'"]),
        ({"model": None}, ["'model' is missing", "folder", "or a 'program' or 'module' to run"]),
        ({"program": "x.py"}, ["give one of 'model', 'program' and 'module'", "found model and program"]),
        ({"model": None, "program": "x.py"}, ["'prompt' goes with a 'model', not with a 'program'"]),
        ({"model": None, "prompt": None, "module": "x"}, ["'generation' goes with a 'model', not with a 'module'"]),
        ({"args": ["x"]}, ["'args' goes with a 'program' or a 'module', not with a 'model'"]),
        ({"model": ""}, ["'model' is missing"]),
        ({"prompt": None}, ["exactly one of 'prompt', 'prompts' and 'messages'", "found none"]),
        ({"prompts": ["x"]}, ["exactly one of", "found prompt and prompts"]),
        ({"prompt": None, "prompts": []}, ["'prompts' is empty"]),
        ({"prompt": 5}, ["$.prompt", "`str"]),
        ({"generation": [1]}, ["$.generation"]),
        ({"generation": "[1]"}, ["$.generation"]),
        ({"generation": "max_new_tokens=8"}, ["JSON is malformed"]),
        ({"stopAtEnd": "yes"}, ["$.stopAtEnd"]),
        ({"dtype": "float8"}, ["float8", "$.dtype"]),
        ({"console": "xterm"}, ["xterm", "$.console"]),
        ({"seed": -1}, ["'seed'", "from 0 to 4294967295"]),
        ({"device": "cpu", "deviceMap": "auto"}, ["'device' or 'deviceMap', not both"]),
        ({"python": "/nowhere/python"}, ["'python': '/nowhere/python'", "No such file"]),
        ({"python": "/"}, ["'python': '/'", "Permission denied"]),
        ({"cwd": "/nowhere"}, ["'cwd': '/nowhere'", "No such file"]),
        ({"console": "integratedTerminal"}, ["opens no terminals", "'internalConsole'"]),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_configuration_is_refused_at_once(start_adapter: StartAdapter, changes: Json, says: list[str]) -> None:
    adapter = start_adapter()
    adapter.initialize()
    text = failure(adapter, {**LAUNCH, **changes})
    assert all(part in text for part in says), text
    assert not adapter.engines
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_a_refused_configuration_can_be_mended_and_launched_again(
    start_adapter: StartAdapter, fake: Callable[[str], Json]
) -> None:
    adapter = start_adapter()
    adapter.initialize()
    adapter.error("launch", {**LAUNCH, "promt": "x"})
    assert adapter.answer(adapter.launch(fake("")))["success"]
    adapter.stop()


def test_keys_of_editors_are_no_options_and_no_mistakes(
    start_adapter: StartAdapter, fake: Callable[[str], Json]
) -> None:
    keys = {"name": "x", "type": "llm", "request": "launch", "preLaunchTask": "", "__sessionId": "1", "restart": True}
    start_adapter().start({**fake(""), **keys})


# The rest needs an engine that has imported torch. What else can be wrong with a model is tested in
# tests/engine/anatomy/test_loading.py.


def truncated_weights(folder: Path) -> Json:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    return {"model": str(folder)}


def unknown_generation_option(_folder: Path) -> Json:
    return {"generation": {"max_new_token": 5}}


SAYS: dict[Callable[[Path], Json], list[str]] = {
    truncated_weights: ["a weights file is corrupt or incomplete", "Copy or download it again"],
    unknown_generation_option: ["generation: unknown option 'max_new_token'", "did you mean", "'max_new_tokens'"],
}


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, tuple[Adapter, int]]]:
    """Adapters that try to load what cannot be loaded, and the numbers of their `launch` requests."""
    folder = tmp_path_factory.mktemp("models")
    with adapters(folder) as start:
        launched = {}
        for spoil in SAYS:
            model = folder / spoil.__name__
            shutil.copytree(EXAMPLE_MODEL, model)
            adapter = start()
            adapter.initialize()
            launched[spoil] = adapter, adapter.launch({**LAUNCH, **spoil(model)}, ["*.layers.3"])
        yield launched


@pytest.mark.parametrize("spoil", SAYS, ids=lambda spoil: spoil.__name__)
def test_a_model_that_cannot_be_loaded_says_why(
    failing: dict[Any, tuple[Adapter, int]], spoil: Callable[[Path], Json]
) -> None:
    adapter, launched = failing[spoil]
    response = adapter.answer(launched)
    adapter.event("terminated")
    text = error_of(response)
    assert all(part in text for part in SAYS[spoil]), text
    assert response["body"]["error"]["showUser"] is True
    assert adapter.order("progressEnd", "launch", "terminated") == ["progressEnd", "launch", "terminated"]
    assert adapter.engine.has_ended()
    assert "has ended" in adapter.error("pause", {"threadId": 1})
    adapter.get("disconnect")
    assert adapter.exit_code() == 0
