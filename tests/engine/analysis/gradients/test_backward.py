"""Gradients at a stop, against finite differences in float64 of plain runs, and against plain autograd."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dap_server.engine.analysis.gradients.backward import GradientError, Objective, differentiate, step_of, tap, text_of
from dap_server.engine.analysis.gradients.rows import gradients_of, gradients_scope
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tokens import UnknownToken
from dap_server.engine.execution import memory
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from tests.engine.walk import GREEDY, PROMPTS, Walk, looking
from tests.models.tiny import tiny_model

ARCHITECTURES = ["llama", "gpt2", "gemma2", "t5", "qwen3_moe", "mamba"]
EPSILON = 1e-5


class Wide(TorchFunctionMode):
    """Float64 where models ask for float32 themselves, in norms and rotary embeddings: slopes need the digits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        kwargs = {k: torch.float64 if a is torch.float32 else a for k, a in (kwargs or {}).items()}
        return func(*args, **kwargs)


def wide(name: str) -> Any:
    """A tiny model in float64; experts in a plain loop, since their kernels do not take it."""
    options: dict[str, Any] = {"experts_implementation": "eager"} if "moe" in name else {}
    return tiny_model(name, **options).double()


@contextlib.contextmanager
def only_in_step(model: nn.Module, step: int, change: Callable[[bool], None]) -> Iterator[list[Tensor]]:
    """Tells `change` when the step's forward begins (True) and ends; gives its logits."""
    calls, logits = [0], list[Tensor]()

    def begins(*_: Any) -> None:
        if calls[0] == step:
            change(True)

    def ends(_module: nn.Module, _args: Any, output: Any) -> None:
        if calls[0] == step:
            change(False)
            logits.append(output.logits[:, -1])
        calls[0] += 1

    handles = [model.register_forward_pre_hook(begins), model.register_forward_hook(ends)]
    try:
        yield logits
    finally:
        for handle in handles:
            handle.remove()


def logit(model: Any, step: int, token: int, change: Callable[[bool], None]) -> float:
    """Of the first sequence in a plain run, while something is changed during one step."""
    with only_in_step(model, step, change) as logits:
        model.generate(input_ids=PROMPTS, **GREEDY)
    return float(logits[0][0, token])


def slope(model: Any, step: int, token: int, change: Callable[[float, bool], None]) -> float:
    up, down = (logit(model, step, token, lambda on, s=sign: change(s * EPSILON, on)) for sign in (1, -1))  # type: ignore[misc]
    return (up - down) / (2 * EPSILON)


def moved(module: nn.Module, direction: Tensor, part: str) -> Callable[[float, bool], None]:
    """Adds a multiple of a direction to the first input or output of a module while it is on."""
    handles: list[Any] = []

    def change(by: float, on: bool) -> None:
        if not on:
            handles.pop().remove()
        elif part == "output":
            handles.append(module.register_forward_hook(lambda _m, _a, out: added(out, by * direction)))
        else:
            handles.append(
                module.register_forward_pre_hook(lambda _m, a, k: given(a, k, by * direction), with_kwargs=True)
            )

    return change


def added(value: Any, by: Tensor) -> Any:
    return (value[0] + by, *value[1:]) if isinstance(value, tuple) else value + by


def given(args: tuple[Any, ...], kwargs: dict[str, Any], by: Tensor) -> Any:
    if args:
        return (args[0] + by, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + by}


def random_like(tensor: Tensor) -> Tensor:
    return torch.randn(tensor.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("step", [0, 2], ids=["prefill", "decode step"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_are_the_slopes_of_finite_differences(name: str, step: int) -> None:
    model = wide(name)
    parameters = dict(model.named_parameters())

    def look(walk: Walk, stop: Stop) -> None:
        path = walk.anatomy.layer_paths[-1]
        module = walk.anatomy.modules[path]
        weight = next(f"{path}.{n}" for n, p in module.named_parameters() if p.dim() == 2 and "wi_1" not in n)
        found = differentiate(
            walk.anatomy,
            step_of(stop.generation, step, 0),
            Objective(token=7),
            [tap(walk.anatomy, path, "inputs", "output")],
            [parameters[weight]],
        )
        outputs = [n for n in found.tensors if n.startswith(f"{path} output")]
        for part, key in (("inputs", f"{path} hidden_states"), ("output", outputs[0])):
            tensor, gradient = found.tensors[key]
            assert gradient is not None
            direction = random_like(tensor)
            measured = slope(model, step, 7, moved(module, direction, part))
            assert float((gradient * direction).sum()) == pytest.approx(measured, rel=1e-6, abs=1e-8), part
        tensor, gradient = found.tensors[weight]
        assert gradient is not None
        direction = random_like(tensor)

        def change(by: float, on: bool) -> None:
            parameters[weight].data.add_(direction, alpha=by if on else -by)

        assert float((gradient * direction).sum()) == pytest.approx(slope(model, step, 7, change), rel=1e-6, abs=1e-8)

    with Wide():
        looking(model, "sample", step, look)


def test_layers_of_an_encoder_have_gradients_by_running_it_again() -> None:
    model = wide("t5")

    def look(walk: Walk, stop: Stop) -> None:
        stack = CallStack(stop, walk.stepper, walk.vocabulary, 1).page(0, None)
        frame = next(frame for frame in stack if frame.path == "encoder.block.0")
        found, text = gradients_of(frame, walk.anatomy, Objective(token=7), "encoder.block.0", ["output"])
        assert text.is_recomputed
        tensor, gradient = next(pair for name, pair in found.tensors.items() if " output" in name)
        assert gradient is not None
        direction = random_like(tensor)
        assert stop.generation.input_ids is not None
        texts = {"input_ids": PROMPTS[1:], "decoder_input_ids": stop.generation.input_ids[1:]}
        up, down = (shifted(sign * EPSILON * direction, texts) for sign in (1, -1))
        assert float((gradient * direction).sum()) == pytest.approx((up - down) / (2 * EPSILON), rel=1e-6)

    def shifted(by: Tensor, texts: dict[str, Tensor]) -> float:
        handle = model.encoder.block[0].register_forward_hook(lambda _m, _a, out: added(out, by))
        try:
            return float(model(**texts, use_cache=False).logits[0, -1, 7])
        finally:
            handle.remove()

    with Wide():
        looking(model, "sample", 2, look)


@pytest.mark.parametrize(
    "mode", [contextlib.nullcontext, torch.no_grad, torch.inference_mode], ids=lambda m: m.__name__
)
@pytest.mark.parametrize("name", ["llama", "mamba", "t5"])
def test_looking_changes_nothing(name: str, mode: Callable[[], Any]) -> None:
    model = tiny_model(name)
    frozen = next(model.parameters())
    frozen.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    options = {"do_sample": True}

    def look(walk: Walk, stop: Stop) -> None:
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_rng_state()
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
        path = walk.anatomy.layer_paths[-1]
        for text in (step_of(stop.generation, s, 0) for s in (0, 1, 2)):
            taps = [tap(walk.anatomy, path, "inputs", "output")]
            found = differentiate(walk.anatomy, text, Objective(), taps, list(model.parameters()))
            assert len(found.tensors) > 3
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before[:2]
        assert torch.equal(torch.get_rng_state(), before[2])
        assert [p.requires_grad for p in model.parameters()] == flags
        assert all(p.grad is None for p in model.parameters())
        assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks

    with mode():
        torch.manual_seed(3)
        expected = model.generate(input_ids=PROMPTS, **{**GREEDY, **options})
        torch.manual_seed(3)
        assert torch.equal(looking(model, "*.layers.1" if name == "llama" else "sample", 2, look, **options), expected)


def test_weights_that_were_made_in_inference_mode_have_gradients_too() -> None:
    with torch.inference_mode():
        model = tiny_model("llama")
        held = list(model.parameters())
        assert all(p.is_inference() for p in held)

        def look(walk: Walk, stop: Stop) -> None:
            weight = model.lm_head.weight
            found = differentiate(walk.anatomy, step_of(stop.generation, 0, 0), Objective(token=5), [], [weight])
            ((_, gradient),) = found.tensors.values()
            assert gradient is not None
            assert gradient[5].norm() > 0
            assert gradient[6].norm() == 0

        looking(model, "sample", 0, look)
        assert all(a is b for a, b in zip(held, model.parameters(), strict=True))


def test_they_are_those_of_plain_autograd(atlas: Loaded) -> None:
    inputs = atlas.tokenizer("The capital of France is", return_tensors="pt")
    paris = atlas.tokenizer.encode(" Paris")[-1]
    held: list[Tensor] = []
    layer = atlas.model.model.layers[3]
    handle = layer.register_forward_hook(lambda _m, _a, out: held.append(out[0] if isinstance(out, tuple) else out))
    logprob = atlas.model(**inputs).logits[0, -1].log_softmax(-1)[paris]
    expected = torch.autograd.grad(logprob, [held[0], layer.mlp.up_proj.weight])
    handle.remove()

    def decide(stop: Stop) -> Motion:
        taps = [tap(walk.anatomy, "model.layers.3", "output")]
        text = step_of(stop.generation, 0, 0)
        found = differentiate(walk.anatomy, text, Objective("logprob", paris), taps, [layer.mlp.up_proj.weight])
        assert found.value == pytest.approx(float(logprob), abs=1e-6)
        for (_, gradient), reference in zip(found.tensors.values(), expected, strict=True):
            assert gradient is not None
            assert torch.allclose(gradient, reference, rtol=1e-4, atol=1e-6)
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    walk.generate(**inputs, max_new_tokens=1, disable_compile=True)
    assert walk.stops


def test_the_loss_is_the_models_own(atlas: Loaded) -> None:
    inputs = atlas.tokenizer(["The capital of France is", "one two"], return_tensors="pt", padding=True)

    def decide(stop: Stop) -> Motion:
        if stop.place.step == 2:
            text = text_of(stop.generation, 2, 1)
            assert text.ids is not None
            expected = atlas.model(input_ids=text.ids, labels=text.ids).loss
            found = differentiate(
                walk.anatomy, text, Objective("loss"), [tap(walk.anatomy, "model.layers.3", "output")]
            )
            assert found.losses is not None
            assert found.value == pytest.approx(float(expected), rel=1e-5)
            assert float(found.losses.mean()) == pytest.approx(found.value)
            assert found.losses.shape[0] == text.ids.shape[1] - 1
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    walk.generate(**inputs, max_new_tokens=3, disable_compile=True)


def test_half_precision_is_said() -> None:
    def look(walk: Walk, stop: Stop) -> None:
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)[0]
        scope = gradients_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows = {row.name: row.value for row in scope.children.named_rows()}
        assert "bfloat16 [2, 6, 32]" in rows["hidden_states"]
        assert rows["hidden_states"].startswith("norm ")

    looking(tiny_model("llama").to(torch.bfloat16), "model.layers.1", 0, look)


def test_what_has_no_gradient_says_why() -> None:
    model = tiny_model("llama")

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(_ctx: Any, *_gradients: Any) -> Any:
            raise NotImplementedError("rounding has no backward")

    rounded: Any = Rounded.apply
    norm: Any = type(model.model.norm)
    original = norm.forward

    def look(walk: Walk, stop: Stop) -> None:
        text = step_of(stop.generation, 0, 0)
        taps = [tap(walk.anatomy, "model.layers.1", "output")]
        with pytest.raises(UnknownToken, match="there is no token 96"):
            differentiate(walk.anatomy, text, Objective(token=96), taps)
        with pytest.raises(GradientError, match="there is no position 6"):
            differentiate(walk.anatomy, text, Objective(position=6), taps)
        norm.forward = lambda self, x: rounded(original(self, x))
        with pytest.raises(GradientError, match="rounding has no backward"):
            differentiate(walk.anatomy, text, Objective(), taps)
        norm.forward = lambda self, x: original(self, x).detach()
        with pytest.raises(GradientError, match="nothing leads from here to the logits"):
            differentiate(walk.anatomy, text, Objective(), taps)

    try:
        looking(model, "sample", 0, look)
    finally:
        norm.forward = original


def test_what_would_not_fit_says_so_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda _device: 1000)
        with pytest.raises(
            memory.NotEnoughMemory, match=r"gradients through 2 layers at 12 positions would need .* kB"
        ):
            differentiate(walk.anatomy, step_of(stop.generation, 0, 0), Objective(), [tap(walk.anatomy, "", "output")])
        taps = [tap(walk.anatomy, "model.layers.1.mlp", "output")]
        with pytest.raises(memory.NotEnoughMemory, match="gradients through 1 layer "):
            differentiate(walk.anatomy, step_of(stop.generation, 0, 0), Objective(), taps)

    looking(tiny_model("llama"), "sample", 0, look)
