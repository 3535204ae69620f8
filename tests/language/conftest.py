"""A running language server, and a map open in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.language.client import MAP_URI, Editor
from tests.language.maps import ATLAS


@pytest.fixture(scope="package")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def start(runner: asyncio.Runner) -> Iterator[Callable[[], Editor]]:
    """Starts a server of the test's own; it is ended with the test if it still runs."""
    started: list[Editor] = []

    def start() -> Editor:
        started.append(Editor(runner))
        return started[-1]

    yield start
    for editor in started:
        if editor.process.returncode is None:
            editor.process.kill()
            editor.wait(editor.ended())


@pytest.fixture(scope="package")
def server(runner: asyncio.Runner) -> Iterator[Editor]:
    """One for all tests: starting it takes most of a second."""
    editor = Editor(runner)
    editor.initialize()
    yield editor
    assert editor.end() == 0
    assert not editor.messages, "nothing went wrong on the way"


@pytest.fixture
def editor(server: Editor) -> Iterator[Editor]:
    """With the map of the example model open, which lies in no folder of this machine."""
    server.open(ATLAS)
    yield server
    server.close()
    server.until(lambda: server.diagnostics[MAP_URI].version is None)
