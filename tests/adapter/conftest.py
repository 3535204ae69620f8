"""Adapter processes for tests, which never outlive them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.adapter.peer import Adapter, Json
from tests.conftest import EXAMPLE_MODEL

StartAdapter = Callable[..., Adapter]

LAUNCH: Json = {
    "model": str(EXAMPLE_MODEL),
    "prompt": "The capital of France is",
    "generation": {"max_new_tokens": 8, "do_sample": False},
    "stopAtEnd": False,
}
"""A run that says ` Paris` and ends."""
LONG: Json = {
    **LAUNCH,
    "generation": {"max_new_tokens": 200, "min_new_tokens": 200, "do_sample": False},
    "stopAtEnd": True,
}
"""A run that is under way still when the next request comes, and stops once more at its end."""


@pytest.fixture
def start_adapter(tmp_path: Path) -> Iterator[StartAdapter]:
    """Starts adapters; each has to end when its input is closed, and leave no engine behind."""
    with adapters(tmp_path) as start:
        yield start


@contextmanager
def adapters(folder: Path) -> Iterator[StartAdapter]:
    """Starts adapters, and ends those that are still there."""
    started: list[Adapter] = []

    def start(*options: str, env: dict[str, str] | None = None) -> Adapter:
        adapter = Adapter(folder / f"stderr-{len(started)}", *options, env=env)
        started.append(adapter)
        return adapter

    with ExitStack() as stack:
        yield start
        for adapter in started:
            stack.callback(adapter.close)


@contextmanager
def stopped_at_layer(folder: Path) -> Iterator[Adapter]:
    """An adapter whose model is stopped at its fourth layer, in the first step of a LONG run."""
    with adapters(folder) as start:
        adapter = start()
        adapter.initialize()
        adapter.launch(LONG, ["*.layers.3"])
        adapter.stop()
        yield adapter


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Adapter]:
    """One for a test that ends it."""
    with stopped_at_layer(tmp_path) as adapter:
        yield adapter


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    """One for the tests of a module, which leave it so that it can begin again."""
    with stopped_at_layer(tmp_path_factory.mktemp("stopped")) as adapter:
        yield adapter


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Json]:
    """The launch configuration of an engine that behaves as it is told."""
    script = tmp_path_factory.mktemp("fake") / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("fake_engine.py")}" "$@"\n')
    script.chmod(0o755)
    return lambda behaviour: {**LAUNCH, "python": str(script), "env": {"BEHAVIOUR": behaviour}}
