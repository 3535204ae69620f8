"""Plain transformers to compare with, and clients whose processes all end."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.plain import Plain
from tests.e2e.raw_client import RawClient

Run = Callable[..., RawClient]
Spawn = Callable[[], RawClient]


@pytest.fixture(scope="package")
def plain(example_model: Path) -> Plain:
    return Plain(example_model)


@pytest.fixture(scope="package")
def session(example_model: Path) -> Iterator[RawClient]:
    """A session with the model loaded and stopped somewhere; every test begins its own run with `restart`."""
    with closing(RawClient.spawn()) as client:
        client.response(client.begin(model=str(example_model), prompt="one", stopOnEntry=True))
        client.stop()
        yield client


@pytest.fixture
def run(session: RawClient, example_model: Path) -> Run:
    """Begins a run in the shared session: `run("*.layers.3", prompt=…)`."""

    def begin(*breakpoints: str, **configuration: Any) -> RawClient:
        session.restart(list(breakpoints), model=str(example_model), **configuration)
        return session

    return begin


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts adapters of the test's own."""
    clients: list[RawClient] = []

    def start() -> RawClient:
        clients.append(RawClient.spawn())
        return clients[-1]

    yield start
    for client in clients:
        check_closed(client)


@contextmanager
def closing(client: RawClient) -> Iterator[RawClient]:
    try:
        yield client
    finally:
        check_closed(client)


def check_closed(client: RawClient) -> None:
    """Ends a session and finds no process of its own left."""
    status = client.close()
    assert status in (0, None), f"the adapter exited with {status}"
    for message in client.messages:
        if message.get("event") == "process" and message["body"]["startMethod"] == "launch":
            assert has_ended(message["body"]["systemProcessId"])


def has_ended(pid: int) -> bool:
    """Whether a process that is no child of ours is gone, or goes within seconds."""
    if not hasattr(os, "pidfd_open"):
        return True  # only Linux tells without polling
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts are not traced by coverage, for tests of who traces."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)
