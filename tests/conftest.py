"""What all tests share."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, here or in a child: no test may ask the network

_CACHE = tempfile.TemporaryDirectory(prefix="llm-dap-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name  # maps that sessions make; gone when the tests are

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models: threads of several processes would wait for each other

EXAMPLE_MODEL = Path(__file__).parents[1] / "fixtures" / "models" / "atlas"

Report = Callable[[str, Iterable[str]], None]
"""Puts lines under a title at the end of the run, whether or not output is captured."""

_REPORTS = pytest.StashKey[list[tuple[str, list[str]]]]()


@pytest.fixture(scope="session")
def example_model() -> Path:
    return EXAMPLE_MODEL


@pytest.fixture
def report(pytestconfig: pytest.Config) -> Report:
    reports = pytestconfig.stash.setdefault(_REPORTS, [])
    return lambda title, lines: reports.append((title, list(lines)))


def pytest_report_header() -> str:
    versions = (f"{name} {version(name)}" for name in ("torch", "transformers", "msgspec", "debugpy"))
    return f"llm-dap on Python {platform.python_version()}, {', '.join(versions)}, {os.cpu_count()} cores"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash.get(_REPORTS, []):
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)
