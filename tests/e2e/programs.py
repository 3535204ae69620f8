"""The programs of `fixtures/programs/`: where they are, and what they print alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "fixtures" / "programs"


def path_of(name: str) -> str:
    return str(FOLDER / name)


def line_of(name: str, text: str) -> int:
    """The number of the first line of a program that has a text in it."""
    lines = (FOLDER / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def alone(name: str, *arguments: str) -> str:
    """What a program prints when nobody debugs it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, path_of(name), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout
