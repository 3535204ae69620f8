"""A bare `model(...)` is a call like any other: it stops, goes back to its beginning, and gives what it gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Traveller
from dap_server.engine.execution.whole_call import WholeCall
from tests.engine.execution.capturing import CaptureProbe
from tests.engine.walk import Walk


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training, with dropout"])
def test_back_and_forth_in_a_bare_forward(atlas: Loaded, training: bool) -> None:
    inputs = atlas.tokenizer("The capital of France is", return_tensors="pt")
    attention = atlas.model.model.layers[0].self_attn
    atlas.model.train(training)
    attention.attention_dropout = 0.3 if training else 0.0
    try:
        torch.manual_seed(3)
        expected = atlas.model(**inputs).logits
        walk = Walk(atlas, breakpoints=["*.layers.3"])
        places: list[str] = []
        looked: list[Tensor] = []

        def stopped(stop: Stop) -> None:
            places.append(str(stop.place))
            assert stop.generation.tape is not None
            if len(places) == 1:
                probe = CaptureProbe({("model.layers.1", 0)})
                stop.generation.tape.replay(0, probe)
                looked.append(probe.found["model.layers.1", 0].output)
            if len(places) < 3:
                destination = Traveller(walk.stepper, stop).back()
                walk.stepper.travel(destination.place, destination.reason)
            else:
                looked.append(stop.activations[0].args[0])
                walk.stepper.resume(Motion.NEXT if len(places) == 3 else Motion.RUN)

        walk.stepper._stopped = stopped
        torch.manual_seed(3)
        generation = Generation(input_ids=inputs["input_ids"], prompt_length=inputs["input_ids"].shape[1])
        walk.stepper.begin(generation)
        call = WholeCall(
            walk.stepper, generation, torch.device("cpu"), lambda: atlas.model(**inputs).logits, lambda _: None
        )
        actual = call.run()
        walk.stepper.end()
        walk.stepper.release()
    finally:
        attention.attention_dropout = 0.0
        atlas.model.eval()
    assert places == [f"before model.layers.{i} in step 0" for i in (3, 2, 1, 2, 3)]
    assert torch.equal(looked[0], looked[2])
    assert torch.equal(actual, expected)
