"""One session with the client that Microsoft publishes for testing debug adapters: `make node` installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.plain import Plain

HERE = Path(__file__).parent / "node"
PROMPT = "The capital of France is"
COUNT = 5


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.skipif(not (HERE / "node_modules").exists(), reason="needs @vscode/debugadapter-testsupport: make node")
def test_a_session_with_the_test_client_of_vs_code(example_model: Path, plain: Plain) -> None:
    arguments = [sys.executable, str(example_model), PROMPT, str(COUNT)]
    played = subprocess.run(
        ["node", str(HERE / "session.cjs"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
    )
    assert played.returncode == 0, played.stderr + played.stdout
    seen = json.loads(played.stdout)
    assert seen == {
        "hits": [1],
        "places": [
            "model.layers.3 (before)",
            "model.layers.4 (before)",
            "model.layers.4.input_layernorm (before)",
            "model.layers.4 (after)",
            "model.layers.5.mlp (after)",
        ],
        "verified": True,
        "stops": COUNT - 1,
        "exitCode": 0,
        "output": plain.texts(PROMPT, max_new_tokens=COUNT)[0] + "\n",
    }
