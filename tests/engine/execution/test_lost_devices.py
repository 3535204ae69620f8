"""After an assertion in a kernel of CUDA nothing runs on the device again: what raised is told as it stands."""

from __future__ import annotations

import pytest
import torch

from dap_server.engine.execution import lost_devices
from dap_server.engine.execution.lost_devices import is_lost
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from tests.engine.execution.test_forward_errors import AT, ended, raising
from tests.engine.execution.test_found_late import NON_FINITE, RAISES
from tests.engine.walk import Walk
from tests.models.tiny import tiny_model

ASSERTION = torch.AcceleratorError("CUDA error: device-side assert triggered")
OF_A_LIBRARY = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`")


def lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices do not answer any more, once somebody asks."""
    monkeypatch.setattr(lost_devices, "_answers", lambda _tensor: False)


@pytest.mark.parametrize("error", [ASSERTION, OF_A_LIBRARY], ids=["assertion", "library"])
def test_a_device_is_lost_when_it_fails_and_does_not_answer_any_more(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    assert not is_lost(error, model), "it still answers"
    lose(monkeypatch)
    assert is_lost(error, model)
    assert not is_lost(RuntimeError("shapes do not fit"), model)
    assert not is_lost(None, model)
    with torch.device("meta"):
        assert not is_lost(error, torch.nn.Linear(1, 1)), "there is nothing to ask"


def test_a_generation_on_it_stops_where_it_was_raised_without_running_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch)
    model = raising(error=torch.AcceleratorError)

    def decide(walk: Walk, stop: Stop) -> Motion:
        assert stop.generation.tape is None, "nothing can run again"
        names = [frame.name for frame in CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 6)]
        assert names[:3:2] == ["model.layers.1.mlp.act_fn (raised)", "model.layers.1.mlp"]
        assert names[1] == "Raising.forward"
        return Motion.RUN

    walk, error = ended(model, RAISES, NON_FINITE, decide=decide)
    assert walk.stops == [f"{AT} 1"]
    assert isinstance(error, torch.AcceleratorError)
    assert error.__context__ is None, "it ends as it would have ended"
    assert model.model.layers[1].mlp.act_fn.counter == [2], "the prefill and the step that raised"


@pytest.mark.parametrize("breakpoints", [[NON_FINITE], []], ids=len)
def test_where_nobody_wants_to_stop_at_it_the_run_ends_with_it(
    breakpoints: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(monkeypatch)
    walk, error = ended(raising(error=torch.AcceleratorError), *breakpoints)
    assert walk.stops == []
    assert isinstance(error, torch.AcceleratorError)
    assert error.__context__ is None


def test_an_error_that_leaves_the_device_as_it_was_is_looked_for_again() -> None:
    model = raising(error=torch.AcceleratorError)
    walk, error = ended(model, RAISES, decide=lambda _walk, stop: Motion.RUN if stop.generation.tape else None)
    assert walk.stops == [f"{AT} 1"]
    assert isinstance(error, torch.AcceleratorError)
