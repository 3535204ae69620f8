"""Two branches beside each other, against two plain runs with hooks of the test."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.analysis.effects.comparing import Comparison, compare
from dap_server.engine.execution.edits.edit import Edit, Token
from dap_server.engine.execution.stage import Stage
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.execution.edits.sessions import Session, by_hand, edit, go_on, output, plain, same_run
from tests.models.tiny import tiny_model

GREEDY: dict[str, Any] = {"do_sample": False}
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.3}


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


def compared(model: Any, change: Edit, sequence: int = 0, at_end: bool = True, **options: Any) -> list[Comparison]:
    """A run to its end, an edit in its past, the other future (to its end too): compared both ways round."""
    found: list[Comparison] = []

    def edit_there(session: Session, stop: Stop) -> None:
        session.edit(stop, change)

    def look(session: Session, stop: Stop) -> Motion:
        generation = stop.generation
        first, second = generation.branches.all
        for one, other in ((first, second), (second, first)):
            found.append(compare(generation, session.anatomy, one, other, sequence, Stage()))
        return Motion.RUN

    session = Session(model, [edit_there, *([go_on] if at_end else []), look])
    result = session.run(**options)
    if isinstance(change.target, Token) or not at_end:
        return found
    with by_hand(model.model.layers[0], lambda step, value: value * 0 if step >= change.steps.first else value):
        assert same_run(result, plain(model, **options))
    return found


def streams(model: Any, **options: Any) -> tuple[Any, list[list[Tensor]]]:
    """A plain run, and what goes into the first layer and leaves each by step."""
    seen: list[list[Tensor]] = []
    layers = model.model.layers
    handles = [
        layers[0].register_forward_pre_hook(lambda _m, args: seen.append([args[0].clone()])),
        *(layer.register_forward_hook(lambda _m, _a, out: seen[-1].append(out.clone())) for layer in layers),
    ]
    result = plain(model, **options)
    for handle in handles:
        handle.remove()
    return result, seen


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("first", [0, 2])
def test_every_number_is_that_of_two_plain_runs(llama: Any, first: int, options: dict[str, Any]) -> None:
    ahead, back = compared(llama, edit(output("model.layers.0"), "zero", first), sequence=1, **options)
    old, old_streams = streams(llama, **options)
    with by_hand(llama.model.layers[0], lambda step, value: value * 0 if step >= first else value):
        new, new_streams = streams(llama, **options)
    tokens = [[int(one) for one in result.sequences[1, 6:]] for result in (old, new)]
    assert ahead.fork == back.fork == first
    assert [pair.step for pair in ahead.steps] == list(range(first, 6))
    assert ahead.divergence == next((s for s in range(6) if tokens[0][s] != tokens[1][s]), None)
    for pair, other in zip(ahead.steps, back.steps, strict=True):
        p, q = (torch.softmax(result.logits[pair.step][1].double(), -1) for result in (old, new))
        assert pair.distance.kl == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-9)
        assert other.distance.kl == pytest.approx(float((q * (q / p).log()).sum()), rel=1e-9)
        one, two = pair.chosen
        assert one is not None
        assert two is not None
        assert [one.id, two.id] == [tokens[0][pair.step], tokens[1][pair.step]]
        scale = options.get("temperature", 1.0)
        given = torch.softmax(old.logits[pair.step][1].double() / scale, -1)
        if options is GREEDY:
            assert one.probability == pytest.approx(float(given[one.id]), rel=1e-5)
    padding = 2 if first == 0 else 0
    column = 0
    for step in range(first, 6):
        before, after = (torch.stack(s[step])[:, 1].double() for s in (old_streams, new_streams))
        expected = ((after - before).norm(dim=-1) / before.norm(dim=-1)).nan_to_num(0)
        expected = expected[:, padding if step == 0 else 0 :]
        count = expected.shape[1]
        assert torch.allclose(ahead.relative[:, column : column + count], expected, rtol=1e-9, atol=0)
        column += count
    assert ahead.relative.shape == (3, column)
    assert ahead.positions == list(range(2 if first == 0 else 6 + first - 1, 11))
    differs = [p >= 6 and tokens[0][p - 6] != tokens[1][p - 6] for p in ahead.positions]
    assert ahead.differs == differs


def test_a_forced_token_parts_two_branches_whose_values_are_the_same_until_then(llama: Any) -> None:
    drawn = int(plain(llama, **GREEDY).sequences[0, 6 + 3])
    other = (drawn + 1) % 90
    found, _ = compared(llama, edit(Token(0), "force", 3, 3, tokens=(other,)), **GREEDY)
    assert (found.fork, found.divergence) == (3, 3)
    assert found.steps[0].distance.is_same
    assert [one.id for one in found.steps[0].chosen if one is not None] == [drawn, other]
    assert not found.relative[:, 0].any()
    assert found.relative[:, 1].all()
    assert found.differs[:2] == [False, True]


def test_another_sequence_of_the_batch_is_untouched(llama: Any) -> None:
    found, _ = compared(llama, edit(Token(0), "force", 3, 3, tokens=(7,)), sequence=1, **GREEDY)
    assert found.divergence is None
    assert all(pair.distance.is_same for pair in found.steps)
    assert not found.relative.any()


def test_a_branch_that_stands_in_its_first_step_is_compared_there(llama: Any) -> None:
    found, _ = compared(llama, edit(output("model.layers.0"), "zero", 2), at_end=False, **GREEDY)
    assert [pair.step for pair in found.steps] == [2]
    assert found.steps[0].chosen[0] is not None
    assert found.steps[0].chosen[1] is None


def test_a_branch_beside_itself_differs_nowhere(llama: Any) -> None:
    found: list[Comparison] = []

    def look(session: Session, stop: Stop) -> Motion:
        branch = stop.generation.branches.present
        found.append(compare(stop.generation, session.anatomy, branch, branch, 0, Stage()))
        return Motion.RUN

    Session(llama, [look]).run(**GREEDY)
    assert (found[0].fork, found[0].steps) == (None, [])
