"""Sweeps against hooks of the test on plain forwards: every cell one run in which that place alone is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.analysis.effects import sweep as sweeps
from dap_server.engine.analysis.effects.sweep import CannotSweep, Question, Sweep, Sweeper
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.protocol.errors import Cancelled
from tests.engine.execution.edits.sessions import Session, asked, edit, output, plain, same_run
from tests.models.tiny import tiny_model

GREEDY: dict[str, Any] = {"do_sample": False}
OTHER = torch.tensor([9, 40, 41, 42])
"""As long as the second text of the batch, which has two positions of padding before it."""


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_model("llama")


def swept(model: Any, question: Question, sequence: int = 1, step: int = 0, **options: Any) -> Sweep:
    """Of a run that is none the wiser."""
    found: list[Sweep] = []

    def look(session: Session, stop: Stop) -> Motion:
        found.append(Sweeper(stop.generation, step, sequence, session.anatomy, question).sweep())
        return Motion.RUN

    session = Session(model, [look], "sample", step=step)
    assert same_run(session.run(**GREEDY, **options), plain(model, **GREEDY, **options))
    return found[0]


@contextmanager
def one_place(module: nn.Module, position: int, value: Tensor, of_input: bool) -> Iterator[None]:
    """A module with another vector at a position of the second sequence."""

    def changed(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[1, position] = value
        return tensor

    handle = (
        module.register_forward_pre_hook(lambda _m, args: (changed(args[0]), *args[1:]))
        if of_input
        else module.register_forward_hook(lambda _m, _a, out: changed(out))
    )
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def run(model: Any) -> Tensor:
    """(V,) logits behind the second text, as the prefill gives them."""
    given = asked()
    logits: Tensor = plain(model, **GREEDY, max_new_tokens=1).logits[0][1]
    assert given["input_ids"].shape == (2, 6)
    return logits


@torch.no_grad()
def residuals(model: Any) -> list[Tensor]:
    """(T, D) of the other text behind every place, and its logits last."""
    seen: list[Tensor] = []
    handles = [
        model.model.layers[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0][0].clone())),
        *(layer.register_forward_hook(lambda _m, _a, out: seen.append(out[0].clone())) for layer in model.model.layers),
    ]
    logits = model(OTHER[None]).logits[0, -1]
    for handle in handles:
        handle.remove()
    return [*seen, logits]


def cells(
    model: Any, found: Sweep, value: Callable[[int, int], Tensor]
) -> Iterator[tuple[tuple[int, int], Tensor, Tensor]]:
    """By row and column: logits with that place changed, and without."""
    base = run(model)
    for i, layer in enumerate(found.layers):
        for j, position in enumerate(found.positions):
            module = model.model.layers[max(layer, 0)]
            with one_place(module, position, value(i, j), of_input=layer < 0):
                yield (i, j), run(model), base


def test_a_patch_of_every_layer_and_position_is_what_hooks_make_of_it(llama: Any) -> None:
    found = swept(llama, Question(source=OTHER))
    *states, other = residuals(llama)
    assert (found.layers, found.paths) == ([-1, 0, 1], ["", "model.layers.0", "model.layers.1"])
    assert found.positions == [2, 3, 4, 5]
    assert (found.target, found.foil) == (int(other.argmax()), int(run(llama).argmax()))

    def difference(logits: Tensor) -> float:
        return float(logits[found.target].double() - logits[found.foil].double())

    assert found.source is not None
    assert found.source.difference == pytest.approx(difference(other), rel=1e-5)
    for (i, j), logits, base in cells(llama, found, lambda i, j: states[i][j]):
        p, q = (torch.softmax(one.double(), -1) for one in (base, logits))
        assert float(found.probability[i, j]) == pytest.approx(float(q[found.target]), rel=1e-4)
        assert float(found.difference[i, j]) == pytest.approx(difference(logits), abs=1e-5)
        assert float(found.kl[i, j]) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-3, abs=1e-9)
    assert found.recovered is not None
    assert found.base.difference == pytest.approx(difference(run(llama)))
    assert float(found.recovered[-1, -1]) == pytest.approx(1.0, abs=1e-4)  # all that the logits are made of


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_an_ablation_is_what_hooks_make_of_it(llama: Any, kind: Any) -> None:
    found = swept(llama, Question(kind, layers=[0, 1], positions=[3, -1]))
    assert found.positions == [3, 5]
    assert found.source is None
    assert found.recovered is None
    own: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda _m, _a, out: own.append(out.clone())) for layer in llama.model.layers]
    run(llama)
    for handle in handles:
        handle.remove()
    value = lambda i, _j: own[i][1, 2:].mean(0) if kind == "mean" else torch.zeros(())  # noqa: E731
    for (i, j), logits, base in cells(llama, found, value):
        p, q = (torch.softmax(one.double(), -1) for one in (base, logits))
        assert float(found.kl[i, j]) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-6, abs=1e-12)


def test_modules_are_swept_over_instead_of_layers(llama: Any) -> None:
    found = swept(llama, Question("zero", modules="*.mlp", positions=[5]))
    assert found.paths == ["model.layers.0.mlp", "model.layers.1.mlp"]
    for i, layer in enumerate(llama.model.layers):
        with one_place(layer.mlp, 5, torch.zeros(()), of_input=False):
            logits = run(llama).double()
        assert float(found.probability[i, 0]) == pytest.approx(float(torch.softmax(logits, -1)[found.target]))


def test_texts_of_other_lengths_need_their_positions(llama: Any) -> None:
    with pytest.raises(CannotSweep, match="the other text has 3 tokens and this one 4: name 'positions'"):
        swept(llama, Question(source=OTHER[:3]))
    found = swept(llama, Question(source=OTHER[:3], positions=[5], source_positions=[-1], layers=[1]))
    assert found.source is not None
    assert float(found.difference[0, 0]) == pytest.approx(found.source.difference, abs=1e-4)


def test_a_later_step_has_one_position(llama: Any) -> None:
    found = swept(llama, Question("zero", layers=[0]), sequence=0, step=2)
    assert found.positions == [7]


def test_edits_of_the_run_are_in_force_in_every_cell(llama: Any) -> None:
    found: list[Sweep] = []

    def change(session: Session, stop: Stop) -> None:
        session.edit(stop, edit(output("model.layers.0"), "scale", number=0.5))

    def look(session: Session, stop: Stop) -> Motion:
        found.append(Sweeper(stop.generation, 0, 0, session.anatomy, Question("zero", layers=[1])).sweep())
        return Motion.RUN

    result = Session(llama, [change, look], "sample").run(**GREEDY)
    assert found[0].base.probability == pytest.approx(float(torch.softmax(result.logits[0][0].double(), -1).max()))


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (Question(), "needs the text"),
        (Question("zero", layers=[7]), "no layer 7: there are -1 to 1"),
        (Question("zero", positions=[9]), "no position 9 in the forward of step 0: it has 2 to 5"),
        (Question(source=OTHER, positions=[5], source_positions=[4]), "no position 4 in the other text"),
        (Question(source=OTHER, positions=[5], source_positions=[1, 2]), "1 positions are named here and 2"),
        (Question("zero", target=4000), "there is no token 4000"),
        (Question("zero", modules="*.mlpx"), r"no module '\*.mlpx'"),
    ],
)
def test_what_makes_no_sense_is_refused(llama: Any, question: Question, text: str) -> None:
    with pytest.raises(Exception, match=text):
        swept(llama, question)


def test_more_forwards_than_can_be_waited_for_are_refused(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "MAX_CELLS", 11)
    with pytest.raises(CannotSweep, match="3 layers × 4 positions are 12 forwards, more than 11 at once"):
        swept(llama, Question("zero"))


def test_a_sweep_is_cancelled_between_two_forwards(llama: Any) -> None:
    reached: list[int] = []

    def look(session: Session, stop: Stop) -> Motion:
        stage = session.stepper.stage

        def check() -> None:
            reached.append(1)
            if len(reached) == 3:
                raise Cancelled

        stage.check_cancelled = check  # type: ignore[method-assign]
        with pytest.raises(Cancelled):
            Sweeper(stop.generation, 0, 0, session.anatomy, Question("zero"), stage).sweep()
        del stage.check_cancelled
        return Motion.RUN

    session = Session(llama, [look], "sample")
    assert same_run(session.run(**GREEDY), plain(llama, **GREEDY))


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "mamba"])
def test_other_architectures_are_patched_too(name: str) -> None:
    model = tiny_model(name)
    options = {"attention_mask": None, "input_ids": asked()["input_ids"][:1]}
    other = torch.arange(10, 16)
    found = swept(model, Question(source=other, positions=[-1]), sequence=0, **options)
    assert found.recovered is not None
    assert float(found.recovered[-1, -1]) == pytest.approx(1.0, abs=1e-3)
