"""The picture of a choice."""

from __future__ import annotations

import io

from dap_server.protocol.llm.sampling import SamplingOption, SamplingResponseBody, SamplingStage, SamplingToken
from dap_server.terminal import choice
from dap_server.terminal.screen import Screen

PARIS = SamplingToken(id=7, text=" Paris", score=2.0, probability=0.25)
OTHER = SamplingToken(id=3, text="\n", score=3.0, probability=0.75)


def test_every_stage_is_a_line_and_the_chosen_token_is_marked() -> None:
    first = SamplingStage(name="logits", kind="logits", occurrence=0, tokens=10, top=[OTHER], chosen=PARIS, rank=2)
    options = [SamplingOption(name="top_k", value="2"), SamplingOption(name="unset", value="None")]
    second = SamplingStage(
        name="TopK", kind="processor", occurrence=1, tokens=2, top=[OTHER, PARIS], chosen=PARIS, rank=2, entropy=0.5623,
        pruned=8, pruned_mass=0.125, options=options, nan=1,
    )  # fmt: skip
    last = SamplingStage(name="probabilities", kind="probabilities", occurrence=0, tokens=2, top=[OTHER, PARIS],
                         chosen=PARIS, rank=2, entropy=0.5623)  # fmt: skip
    body = SamplingResponseBody(
        step=4, sequence=0, token=PARIS, is_chosen=False, draw="sampled", pruned=8, stages=[first, second, last]
    )
    paper = io.StringIO()
    Screen(paper, width=120).show(choice.view(body))
    lines = [line.rstrip() for line in paper.getvalue().splitlines()]
    assert lines[0] == "step 4  ' Paris' will be chosen · sampled · probability 25.00%"
    assert lines[1].split() == ["stage", "entropy", "left", "pruned", "rank", "probability", "options"]
    assert lines[2].split() == ["logits", "-", "10", "2", "25.00%"]
    assert lines[3].split() == ["TopK", "(2)", "0.5623", "2,", "1", "NaN", "8", "(12.50%)", "2", "25.00%", "top_k=2"]
    assert lines[5:] == [
        "8 tokens with - of the probability were pruned in all",
        "  75.00%  '\\n'      id 3",
        "▸ 25.00%  ' Paris'  id 7",
    ]
