"""The example model, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dap_server.engine.anatomy.loading import Loaded, load
from dap_server.protocol.launch import LaunchArguments


@pytest.fixture(scope="session")
def atlas(example_model: Path) -> Loaded:
    return load(LaunchArguments(model=str(example_model)), lambda _message, _percentage: None)
