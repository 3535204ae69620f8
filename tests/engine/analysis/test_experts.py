"""Mixtures of experts: against routers' weights in float64, and against what a plain run gives its experts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.analysis.experts.routing import NOBODY, Routing, route
from dap_server.engine.analysis.experts.rows import experts_scope
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.routers import routers
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.variables import Row
from tests.engine.walk import Walk
from tests.models.tiny import PAD, tiny_model

GIVEN = "what the experts were given"
TOLD = "what the router gave"
WORKED_OUT = "worked out: the highest logits"

MIXTURES: dict[str, tuple[str, str | None]] = {
    "mixtral": (GIVEN, "softmax"),
    "qwen2_moe": (GIVEN, "softmax"),
    "qwen3_moe": (GIVEN, "softmax"),
    "qwen3_next": (GIVEN, "softmax"),
    "olmoe": (GIVEN, "softmax"),
    "jamba": (GIVEN, "softmax"),
    "granitemoe": (GIVEN, "softmax"),
    "gpt_oss": (GIVEN, "softmax"),
    "dbrx": (GIVEN, None),
    "deepseek_v2": (GIVEN, "softmax"),
    "deepseek_v3": (GIVEN, "sigmoid"),
    "glm4_moe": (GIVEN, "sigmoid"),
    "afmoe": (GIVEN, None),  # its routers begin at zero: all weights are alike
    "ernie4_5_moe": (GIVEN, "softmax"),
    "phimoe": (GIVEN, None),
    "llama4_text": (TOLD, "sigmoid"),
    "jetmoe": (WORKED_OUT, None),
    "switch_transformers": (GIVEN, "softmax"),
    "nllb-moe": (GIVEN, "softmax"),
}

BY_HAND = ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss", "deepseek_v3"]

LENGTH, STEPS = 9, 3


def inputs() -> dict[str, Tensor]:
    ids = torch.randint(3, 90, (2, LENGTH), generator=torch.Generator().manual_seed(5))
    ids[1, :2] = PAD
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def generate(model: Any, run: Callable[..., Any]) -> Tensor:
    ids: Tensor = run(**inputs(), max_new_tokens=STEPS, min_new_tokens=STEPS, disable_compile=True)
    return ids


def walked(model: Any, look: Callable[[Walk, Stop], None], breakpoints: list[str]) -> Tensor:
    def decide(stop: Stop) -> Motion:
        look(walk, stop)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, breakpoints)
    return generate(model, walk.generate)


def routings(walk: Walk, stop: Stop, step: int) -> dict[str, Routing]:
    tape = stop.generation.tape
    assert tape is not None
    found = route(tape, step, routers(walk.anatomy), "", walk.anatomy)
    return {routing.router.path: routing for routing in found}


def heard(model: nn.Module, paths: list[str]) -> tuple[dict[str, list[tuple[Any, ...]]], list[Any]]:
    """What modules are given in every call of a plain run."""
    seen: dict[str, list[tuple[Any, ...]]] = {path: [] for path in paths}

    def hook(path: str) -> Callable[..., None]:
        def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[path].append(tuple(v.clone() if isinstance(v, Tensor) else v for v in (*args, *kwargs.values())))

        return note

    handles = [model.get_submodule(p).register_forward_pre_hook(hook(p), with_kwargs=True) for p in paths]
    return seen, handles


@pytest.mark.parametrize("name", MIXTURES)
def test_every_kind_of_mixture_is_read_at_every_step(name: str) -> None:
    source, scoring = MIXTURES[name]
    model = tiny_model(name)
    plain = tiny_model(name)
    paths = [r.path for r in routers(Walk(Loaded(plain, None)).anatomy)]
    experts = {path: f"{path.rpartition('.')[0]}.experts" for path in paths}
    beside = [e for e in experts.values() if e in dict(plain.named_modules())]
    seen, _ = heard(plain, beside)
    expected = generate(plain, plain.generate)
    looked: list[int] = []

    def look(walk: Walk, stop: Stop) -> None:
        for step in range(stop.place.step + 1):
            found = routings(walk, stop, step)
            ran = [p for p in paths if not p.startswith("encoder.")]
            assert list(found) == [p for p in ran if "encoder" not in p.split(".")]
            for path, routing in found.items():
                tokens = 2 * (LENGTH if step == 0 else 1) if not model.config.is_encoder_decoder else 2
                assert routing.logits.shape[0] == tokens == math.prod(routing.shape)
                assert int(routing.load.sum()) + routing.dropped == tokens * routing.per_token
                assert routing.source == source
                assert routing.scoring == scoring or (scoring is not None and step > 0 and routing.scoring is None)
                if source == GIVEN:
                    check_given(routing, seen[experts[path]][step])
            looked.append(step)
        frames = CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, None)
        scope = experts_scope(frames[0], walk.anatomy, walk.vocabulary)
        assert scope is not None
        assert scope.expensive
        opened(scope.children.named_rows())

    assert torch.equal(walked(model, look, ["sample"]), expected)
    assert looked == [0, 0, 1, 0, 1, 2]


def check_given(routing: Routing, given: tuple[Any, ...]) -> None:
    """The numbers, or the mask, and the weights that the experts of a plain run were given."""
    whole, weights = given[1].flatten(0, -2), given[2].flatten(0, -2).double()
    if whole.shape == routing.chosen.shape and whole.shape[1] < routing.experts:
        assert torch.equal(routing.chosen, whole)
        assert routing.weights is not None
        assert torch.equal(routing.weights, weights)
        return
    mask = torch.zeros(routing.chosen.shape[0], routing.experts + 1, dtype=torch.bool)
    mask.scatter_(1, routing.chosen.where(routing.chosen != NOBODY, routing.experts), value=True)
    marked = weights != 0 if weights.shape[1] == routing.experts else whole != 0
    assert torch.equal(mask[:, :-1], marked)


@pytest.mark.parametrize("name", BY_HAND)
def test_choices_and_scores_follow_from_the_weights_of_the_router_in_float64(name: str) -> None:
    model, plain = tiny_model(name), tiny_model(name)
    paths = [r.path for r in routers(Walk(Loaded(plain, None)).anatomy)]
    seen, _ = heard(plain, paths)
    generate(plain, plain.generate)

    def look(walk: Walk, stop: Stop) -> None:
        found = routings(walk, stop, stop.place.step)
        for path, routing in found.items():
            router = plain.get_submodule(path)
            hidden = seen[path][stop.place.step][0].reshape(routing.logits.shape[0], -1).double()
            logits = hidden @ router.weight.double().T
            if getattr(router, "bias", None) is not None:
                logits = logits + router.bias.double()
            assert torch.allclose(routing.logits, logits, atol=1e-5)
            scores, order = by_hand(name, router, logits)
            assert routing.scores is not None
            assert torch.allclose(routing.scores, scores, atol=1e-5)
            best = order.topk(routing.per_token, dim=-1).indices
            assert torch.equal(routing.chosen.sort(-1).values, best.sort(-1).values)

    walked(model, look, ["sample"])


def by_hand(name: str, router: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N, E), and what the choice goes by."""
    if name != "deepseek_v3":
        return logits.softmax(-1), logits
    scores = logits.sigmoid()
    order = scores + router.e_score_correction_bias.double()
    groups = order.unflatten(-1, (router.num_group, -1))
    best = groups.topk(2, dim=-1).values.sum(-1)
    allowed = best >= best.topk(router.topk_group, dim=-1).values[:, -1:]
    return scores, groups.masked_fill(~allowed[..., None], -math.inf).flatten(1)


def test_load_and_imbalance_by_hand() -> None:
    router = routers(Walk(Loaded(tiny_model("mixtral"), None)).anatomy)[0]
    chosen = torch.tensor([[0, 1], [0, 2], [0, NOBODY]])
    routing = Routing(router, (1, 3), torch.zeros(3, 4), chosen, None, "what the router gave")
    assert routing.load.tolist() == [3, 1, 1, 0]
    assert routing.imbalance == pytest.approx(3 / (5 / 4))
    assert routing.entropy == pytest.approx(-(0.6 * math.log(0.6) + 2 * 0.2 * math.log(0.2)))
    assert routing.dropped == 1
    assert routing.scoring is None


def test_an_expert_beyond_its_capacity_drops_tokens() -> None:
    model = tiny_model("switch_transformers")
    for module in model.modules():
        if hasattr(module, "expert_capacity"):
            module.expert_capacity = 0
    dropped: list[int] = []

    def look(walk: Walk, stop: Stop) -> None:
        dropped.extend(routing.dropped for routing in routings(walk, stop, 0).values())

    walked(model, look, ["sample"])
    assert dropped
    assert min(dropped) > 0


def test_frames_of_layers_show_their_own_router_and_steps_all() -> None:
    model = tiny_model("mixtral")
    shown: dict[str, list[str]] = {}

    def look(walk: Walk, stop: Stop) -> None:
        if stop.place.step != 1:
            return
        for frame in CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, None):
            scope = experts_scope(frame, walk.anatomy, walk.vocabulary)
            shown[frame.name] = [] if scope is None else [row.name for row in scope.children.named_rows()]
        layer = next(f for f in CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, 1))
        scope = experts_scope(layer, walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows = {row.name: row for row in scope.children.named_rows()}
        assert rows["experts"].value == "4, 2 for each token"
        (position,) = rows["positions"].children.indexed_rows(0, 5)  # type: ignore[union-attr]
        token = int(stop.generation.input_ids[1, LENGTH])  # type: ignore[index]
        assert position.name == f"[{LENGTH}]"
        assert position.value.startswith(f"'<{token}>'  expert ")
        each = position.children.named_rows()  # type: ignore[union-attr]
        assert [row.name for row in each] == [f"expert {e}" for e in range(4)]
        assert sum("chosen" in row.value for row in each) == 2

    walked(model, look, ["*.layers.1.mlp.experts"])
    routers_of = ["model.layers.0.mlp.gate", "model.layers.1.mlp.gate"]
    assert shown["MixtralForCausalLM"] == routers_of
    assert shown["step 1"] == routers_of
    assert shown["model.layers.1.mlp.experts (before)"][:2] == ["router", "experts"]
    assert shown["model.layers.1"][:2] == ["router", "experts"]
    assert shown["model.layers.0 (done)"][:2] == ["router", "experts"]
    assert next(names for name, names in shown.items() if name.startswith("step 0  ")) == routers_of


def test_a_model_without_experts_has_no_such_scope(atlas: Loaded) -> None:
    assert routers(Walk(atlas).anatomy) == []


class _Own(nn.Module):
    """A mixture that nobody declares."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 5)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(5))


def test_a_router_beside_its_experts_is_found_without_being_declared() -> None:
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"mlp": _Own()})])})
    (router,) = routers(Walk(Loaded(model, None)).anatomy)
    assert (router.path, router.index, router.experts) == ("layers.0.mlp.gate", None, "layers.0.mlp.experts")


def opened(rows: list[Row], depth: int = 3) -> None:
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert not row.value.startswith("<"), row
        if row.children is not None and depth:
            opened([*row.children.named_rows(), *row.children.indexed_rows(0, 3)], depth - 1)
