"""Tests over all model types, of which some run every time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.models.tasks import NOT_BUILT, Task, model_types


def cases(sample: Mapping[Task, list[str]], mark: pytest.MarkDecorator) -> list[Any]:
    """Every type that can be built, by task; those that are not in the sample are marked."""
    return [
        pytest.param(task, name, marks=() if name in sample[task] else mark)
        for task in sample
        for name in model_types(task)
        if name not in NOT_BUILT[task]
    ]
