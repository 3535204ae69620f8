"""A debugger whose adapter the test plays, before and at its first stop. A module may make its adapter say more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.terminal.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    with made.fake:
        yield made


@pytest.fixture
def stopped(stage: Stage) -> Stage:
    stage.start()
    return stage
