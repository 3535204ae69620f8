"""A left-padded batch of two, looked at while each of its tokens is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.walk import Walk

PROMPT = [[0, 0, 17, 5, 88, 23, 41], [9, 30, 17, 5, 17, 60, 3]]
TOKENS = 3
Look = Callable[[Walk, Stop], None]


def looking(model: Any, look: Look, tokens: int = TOKENS) -> Tensor:
    """Looks from the choice of each token; the generated ids (B, T) are those of a run without looks."""

    def decide(stop: Stop) -> Motion:
        look(walk, stop)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, ["sample"])
    ids = torch.tensor(PROMPT)
    options = {"attention_mask": (ids != 0).long(), "max_new_tokens": tokens, "min_new_tokens": tokens}
    generated: Tensor = walk.generate(input_ids=ids, **options, disable_compile=True)
    assert torch.equal(generated, model.generate(ids, **options, disable_compile=True))
    return generated
