"""Real editors, where `make editors` has put them, and the adapter under the name by which they start it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dap_server.modelmap.text import read_map
from tests.e2e.plain import Plain
from tests.editors.traffic import Traffic

ROOT = Path(__file__).parents[2]
EDITORS = ROOT / ".editors" / "bin"
RECORDER = Path(__file__).with_name("recorder.py")

Editor = Callable[[str], str]
"""The path of the program of this name; skips the test when it is not there."""


@pytest.fixture(scope="package")
def plain(example_model: Path) -> Plain:
    return Plain(example_model)


@pytest.fixture
def editor() -> Editor:
    def path(name: str) -> str:
        program = EDITORS / name
        if not program.exists():
            pytest.skip(f"needs {name}: make editors")
        return str(program)

    return path


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    with Traffic() as traffic:
        yield traffic


@pytest.fixture
def environment(tmp_path: Path, traffic: Traffic) -> dict[str, str]:
    """What an editor is started with: `llm-dap` is found on its path, and what it says to it is in `traffic`."""
    home = tmp_path / "home"
    home.mkdir()
    command = home / "llm-dap"
    recorded = shlex.join([sys.executable, str(RECORDER), str(traffic.port)])
    plainly = shlex.join([sys.executable, "-m", "dap_server"])
    command.write_text(f'#!/bin/sh\n[ "$1" = adapter ] && exec {recorded} "$@"\nexec {plainly} "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_DATA_HOME": str(home / "data"),
        "PATH": f"{home}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
    }


@dataclass
class MapFile:
    path: Path

    def line_of(self, place: str) -> int:
        line = read_map(self.path.read_text(encoding="utf-8")).line_of(place)
        assert line is not None
        return line


@pytest.fixture
def map_file() -> MapFile:
    """The map of the example model."""
    return MapFile(ROOT / "fixtures" / "maps" / "atlas.llmmap")
