"""Filters of anomalies with the independent client, on the example model."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.e2e.raw_client import Json, RawClient

PROMPT = "The capital of France is"
ALL = ["nearOverflow", "residual", "deadActivations", "attention", "repetition", "lowConfidence", "padding"]


@pytest.fixture
def begin(run: Run) -> Any:
    """A run that stands at its entry, with filters: ids, or ids with conditions."""

    def start(
        *filters: str, conditions: dict[str, str] | None = None, **generation: Any
    ) -> tuple[RawClient, list[Json]]:
        client = run(prompt=PROMPT, stopOnEntry=True, generation={"max_new_tokens": 30, **generation})
        client.stop()
        options = [{"filterId": id, "condition": text} for id, text in (conditions or {}).items()]
        body = client.ask("setExceptionBreakpoints", filters=list(filters), filterOptions=options)
        return client, body["breakpoints"]

    return start


def explained(client: RawClient) -> tuple[str, str, str]:
    """Runs on; the place of the next stop, the filter and what it says."""
    body = client.move("continue")
    assert body["reason"] == "exception"
    info = client.ask("exceptionInfo", threadId=1)
    return body["text"], info["exceptionId"], info["description"]


def test_a_healthy_run_never_stops(begin: Any) -> None:
    client, placed = begin("nonFinite", "forwardError", *ALL)
    assert [one["verified"] for one in placed] == [True] * 9
    assert client.move("continue")["description"] == "generation finished"


def test_a_loop_is_told_with_its_text(begin: Any) -> None:
    client, _ = begin(*ALL, repetition_penalty=0.01)
    place, id, text = explained(client)
    assert (place, id) == ("after sample in step 25", "repetition")
    assert text.startswith("the last 24 tokens are 8 times the same 3, ' France is of': ")


def test_a_temperature_far_too_high_is_told(begin: Any) -> None:
    client, _ = begin(*ALL, do_sample=True, temperature=100.0, top_k=0)
    place, id, text = explained(client)
    assert (place, id) == ("after sample in step 0", "lowConfidence")
    found = re.search(r"what is drawn from ([\d.]+) of ([\d.]+)", text)
    assert found is not None
    assert math.log(2_538) == pytest.approx(float(found[2]), abs=0.005)
    assert float(found[1]) == pytest.approx(float(client.evaluate("entropy")), abs=0.005)


def test_a_condition_takes_the_place_of_the_threshold(begin: Any) -> None:
    client, placed = begin(conditions={"residual": "layer == 2 and step == 3 and growth > 1"})
    assert placed[0]["verified"]
    place, id, text = explained(client)
    assert (place, id) == ("after model.layers.2 in step 3", "residual")
    told = re.search(r"norm [\d.e+]+ → ([\d.e+]+)", text)
    assert told is not None
    assert float(told[1]) == pytest.approx(float(client.evaluate("norm")), rel=0.006)


def test_a_condition_that_cannot_be_is_told_with_its_column(begin: Any) -> None:
    _, placed = begin(conditions={"residual": "growth > 5 and dead > 0"})
    assert not placed[0]["verified"]
    assert "`dead` is not known" in placed[0]["message"]
    assert "column 16" in placed[0]["message"]
