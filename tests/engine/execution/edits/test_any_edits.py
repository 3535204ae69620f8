"""Any list of edits, undone in any order, leaves the run as it was; what is left on the list is as if made alone."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
import torch

from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import (
    AttentionValue,
    Edit,
    Expert,
    Logits,
    ModuleValue,
    Option,
    Steps,
    StoredValue,
    Token,
)
from dap_server.engine.execution.edits.selection import Selection
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.modelmap.places import STEP, Place
from tests.engine.execution.edits.prompted import TEXTS, WORDS, Prompted, plain, prompt, tiny
from tests.engine.execution.edits.sessions import Session, turned
from tests.engine.execution.straight import same, state_of
from tests.models.tiny import VOCABULARY, tiny_model

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "append-only": ("llama", {}),
    "static": ("llama", {"cache_implementation": "static"}),
    "sliding": ("gemma2", {}),
    "recurrent": ("falcon_h1", {}),
    "encoder and decoder": ("bart", {}),
    "experts": ("mixtral", {}),
}
OPTIONS: dict[str, Any] = {
    "do_sample": True,
    "temperature": 1.3,
    "max_new_tokens": 6,
    "min_new_tokens": 6,
    "return_dict_in_generate": True,
    "output_logits": True,
}
TURNS = 14


@cache
def model_of(name: str) -> Any:
    return tiny_model(name)


def random_edit(draw: random.Random, model: Any) -> Edit:
    """Of any kind, from any step on."""
    first = draw.randrange(6)
    steps = Steps(first, draw.choice([None, None, first, first + 1]))
    number = draw.choice([0.5, -1.0, 3.0])
    called = [path for path, module in model.named_modules() if path.count(".") >= 2 and not list(module.children())]
    path = draw.choice([path for path in called if "encoder" not in path.split(".")])
    parameters = [name for name, value in model.named_parameters() if value.dim() and "encoder." not in name]
    attention = [path for path, _ in model.named_modules() if path.endswith("self_attn") and "encoder." not in path]
    kinds = ["module", "module", "input", "attention", "expert", "parameter", "cache", "logits", "token", "option"]
    kind = draw.choice([*kinds, "prompt", "prompt"])
    match kind:
        case "module":
            change = draw.choice(
                [Change("zero"), Change("scale", number=number), Change("noise", number=0.5), Change("mean")]
            )
            return Edit(ModuleValue(path, selection=Selection(sequences=(draw.randrange(2),))), change, steps)
        case "input":
            return Edit(ModuleValue(path, "input"), Change("scale", number=number), steps)
        case "attention":
            value: Any = draw.choice(["heads", "pattern", "scores"])
            where = AttentionValue(draw.choice(attention), value, heads=(draw.randrange(2),))
            return Edit(where, Change("scale", number=number), steps)
        case "expert":  # of a model without experts it says so, and changes nothing
            return Edit(Expert("*.mlp", draw.randrange(2)), Change("zero"), steps)
        case "parameter":
            return Edit(StoredValue("parameter", draw.choice(parameters)), Change("scale", number=number), steps)
        case "cache":
            entry = f"0.{draw.choice(['keys', 'values'])}"
            at = Selection(positions=(draw.randrange(6),))
            return Edit(StoredValue("cache", entry, at), Change("set", number=number), Steps(max(first, 1)))
        case "logits":
            return Edit(Logits(), Change("ban", tokens=tuple(draw.sample(range(3, VOCABULARY), 40))), steps)
        case "prompt":
            return prompt(" ".join(draw.choices(WORDS, k=draw.randrange(3, 7))), draw.choice([None, 0, 1]))
        case "token":
            return Edit(Token(draw.choice([None, 0, 1])), Change("force", tokens=(draw.randrange(3, 90),)), steps)
        case _:
            name, value = draw.choice([("temperature", 0.4), ("top_k", 7), ("do_sample", 0)])
            return Edit(Option(name), Change("set", number=value), steps)


class Editing:
    """Makes, switches and undoes edits at random, at whatever place the run stands; in the end undoes them all."""

    def __init__(self, seed: int, model: Any) -> None:
        self._draw, self._model, self._turns = random.Random(seed), model, TURNS
        self.seen: dict[tuple[object, ...], list[Any]] = {}
        self.ends = 0

    def __call__(self, session: Session, stop: Stop) -> Motion | None:
        session._answers.append(self)
        if not stop.generation.is_own_loop:  # an encoder, which runs before the steps
            return Motion.RUN
        self._look(stop)
        while self._turns or stop.generation.edits:
            if self._turns and not stop.generation.is_over and self._draw.random() < 0.3:
                return Motion.RUN
            known = len(stop.generation.records) + (not stop.generation.is_over)
            if self._turns and self._draw.random() < 0.15:
                session.stepper.travel(Place(self._draw.randrange(known), STEP), "goto")
                return None
            if self._moves(session, stop):
                return None
        return Motion.RUN

    def _moves(self, session: Session, stop: Stop) -> bool:
        """Changes something; whether the run has to move for it."""
        branches, edits, what = stop.generation.branches, stop.generation.edits, self._draw.random()
        others = [branch for branch in branches.all if branch is not branches.present]
        if not self._turns or (edits and what < 0.25):
            edits = edits.without(self._draw.choice(edits.all).id)
        elif edits and what < 0.4:
            one = self._draw.choice(edits.all)
            edits = edits.switched(one.id, not one.is_on)
        elif others and what < 0.5:
            branch = self._draw.choice(others)
            session.stepper.turn(branches.turn_to(branch, stop.place), branch.left)
            return True
        else:
            edits = edits.plus(branches.numbered([random_edit(self._draw, self._model)]))
        self._turns -= self._turns > 0
        return turned(session.stepper, edits)

    def _look(self, stop: Stop) -> None:
        """A finished run is the same as any other with the same edits; a look leaves it alone."""
        assert stop.generation.diverged_at is None
        if not stop.generation.is_over:
            return
        self.ends += 1
        tape: Any = stop.generation.tape
        found = [logits.clone() for logits in tape.collected.logits]
        key = tuple((e.target, id(e.change), e.steps) for e in stop.generation.edits.all if e.is_on)
        assert same(self.seen.setdefault(key, found), found)
        before = state_of(tape.cache)
        step = self._draw.randrange(6)
        assert same(tape.replay(step).logits, found[step])
        assert same(state_of(tape.cache), before)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "options"), MODELS.values(), ids=MODELS)
def test_edits_undone_in_any_order_leave_the_run_as_it_was(name: str, options: dict[str, Any], seed: int) -> None:
    model, options = model_of(name), {**OPTIONS, **options}
    own = {key: value.clone() for key, value in model.state_dict().items()}
    editing = Editing(seed, model)
    loaded = tiny(model, Task.SEQ2SEQ if model.config.is_encoder_decoder else Task.CAUSAL)
    session = Prompted(loaded, [editing], "*.0", "sample", prompts=TEXTS, generation=options)
    assert torch.equal(session.go(), plain(loaded, *TEXTS, **options))
    assert same(dict(model.state_dict()), own)
    assert editing.ends >= 1
