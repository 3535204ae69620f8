"""Adapter processes for tests, which never outlive them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.adapter.peer import Adapter, Json
from tests.conftest import EXAMPLE_MODEL

StartAdapter = Callable[..., Adapter]
NextStopped = Callable[[], Adapter]

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

AHEAD = 2
"""How many engines load while tests run: as many as there are cores."""


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


@pytest.fixture(scope="session")
def next_stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NextStopped]:
    """Gives adapters that are stopped at the fourth layer of a LONG run. The next ones load meanwhile."""
    names = {"stopped", "shared"}
    left = sum(1 for item in request.session.items if names & set(getattr(item, "fixturenames", ())))
    loading: deque[Adapter] = deque()
    with adapters(tmp_path_factory.mktemp("stopped")) as start:

        def ahead() -> None:
            while len(loading) < min(AHEAD, left):
                adapter = start()
                adapter.initialize()
                adapter.launch(LONG, ["*.layers.3"])
                loading.append(adapter)

        def take() -> Adapter:
            nonlocal left
            ahead()
            adapter = loading.popleft()
            left -= 1
            ahead()
            adapter.stop()
            return adapter

        yield take


@pytest.fixture
def stopped(next_stopped: NextStopped) -> Iterator[Adapter]:
    """An adapter whose model is stopped at its fourth layer, in the first step of a LONG run."""
    adapter = next_stopped()
    yield adapter
    adapter.close()


@pytest.fixture(scope="module")
def shared(next_stopped: NextStopped) -> Iterator[Adapter]:
    """One such adapter for the tests of a module, which leave it so that it can begin again."""
    adapter = next_stopped()
    yield adapter
    adapter.close()


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Json]:
    """The launch configuration of an engine that behaves as it is told."""
    script = tmp_path_factory.mktemp("fake") / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("fake_engine.py")}" "$@"\n')
    script.chmod(0o755)
    return lambda behaviour: {**LAUNCH, "python": str(script), "env": {"BEHAVIOUR": behaviour}}
