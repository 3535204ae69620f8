"""What the VS Code extension has from the Python side, and what its manifest promises, is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dap_server import __version__

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "vscode-extension"
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((EXTENSION / "src").rglob("*.ts")))


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
    return found


def test_types_of_messages_and_schema_of_launch_json_are_what_the_structs_say() -> None:
    script = EXTENSION / "scripts" / "generate.py"
    made = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr + "run: python vscode-extension/scripts/generate.py"


def test_the_extension_has_the_version_of_the_debugger(manifest: dict[str, Any]) -> None:
    assert manifest["version"] == __version__


def test_every_command_is_registered(manifest: dict[str, Any]) -> None:
    promised = {each["command"] for each in manifest["contributes"]["commands"]}
    written = set(re.findall(r'"(llm\.[A-Za-z]+)"', SOURCES))
    assert promised <= written, promised - written


def test_every_command_in_a_menu_exists(manifest: dict[str, Any]) -> None:
    commands = {each["command"] for each in manifest["contributes"]["commands"]}
    menus = [entry for entries in manifest["contributes"]["menus"].values() for entry in entries]
    named = {entry["command"] for entry in menus if entry.get("command", "").startswith("llm.")}
    assert named <= commands, named - commands


def test_files_of_the_extension_stay_small() -> None:
    written = [path for path in (EXTENSION / "src").rglob("*.ts") if path.name != "messages.ts"]
    lines = {str(path.relative_to(EXTENSION)): len(path.read_text(encoding="utf-8").splitlines()) for path in written}
    assert not {name: count for name, count in lines.items() if count > 400}


@pytest.mark.parametrize("folder", ["vscode-extension", "tests/vscode"])
def test_locked_packages_name_no_registry(folder: str) -> None:
    locked = json.loads((ROOT / folder / "package-lock.json").read_text(encoding="utf-8"))
    assert not [name for name, package in locked["packages"].items() if "resolved" in package]
