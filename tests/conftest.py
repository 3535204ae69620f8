"""What all tests share."""

from __future__ import annotations

import gc
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

for name in (
    "COLUMNS",
    "LINES",
):  # of the terminal around the tests; readline sets them for children
    os.environ.pop(name, None)

gc.disable()  # while the tests and torch are imported, which make no garbage: a quarter of the time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models: threads of several processes would wait for each other

EXAMPLE_MODEL = Path(__file__).parents[1] / "fixtures" / "models" / "atlas"

Report = Callable[[str, Iterable[str]], None]
"""Puts lines under a title at the end of the run, whether or not output is captured."""

_REPORT = "told at the end of the run"


@pytest.fixture(scope="session")
def example_model() -> Path:
    return EXAMPLE_MODEL


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """With what the test has come to, which reaches the end of the run from other processes too."""
    return lambda title, lines: record_property(_REPORT, [title, *lines])


def pytest_report_header() -> str:
    versions = (f"{name} {version(name)}" for name in ("torch", "transformers", "msgspec", "debugpy"))
    return f"llm-dap on Python {platform.python_version()}, {', '.join(versions)}, {os.cpu_count()} cores"


def pytest_collection_finish() -> None:
    gc.freeze()  # what has been imported stays
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ended = [test for tests in terminalreporter.stats.values() for test in tests if getattr(test, "when", "") == "call"]
    for name, told in (each for test in ended for each in test.user_properties):
        if name == _REPORT:
            title, *lines = told
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)
