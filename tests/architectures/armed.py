"""One model with the filters armed that are on by themselves: left alone, and with a weight that is NaN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Interruption, Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from tests.engine.walk import Walk
from tests.models.tiny import PAD, Task, tiny_inputs, tiny_model

How = Literal["greedy", "sampled", "beams", "forward"]

FILTERS = [Wanted(0, "nonFinite", "exception"), Wanted(0, "forwardError", "exception")]
STEPS = 3


class Armed:
    """A tiny model, and the same call of it with and without the debugger."""

    def __init__(self, task: Task, name: str, batch: int = 1) -> None:
        self.model: Any = tiny_model(name, task)
        self.generates = task in ("causal", "seq2seq")
        self.inputs = tiny_inputs(self.model, task, batch)
        if batch > 1:
            self.inputs["input_ids"][1, :5], self.inputs["attention_mask"][1, :5] = PAD, 0
        self.anatomy = Anatomy(self.model)

    def plain(self, how: How) -> Any:
        """The call without the debugger."""
        torch.manual_seed(0)
        return self._call(how)

    def walk(self, how: How, walk: Walk) -> Any:
        """The call under the debugger."""
        torch.manual_seed(0)
        if how in ("greedy", "sampled"):
            return walk.generate(**self._options(how))
        ids = self.inputs["input_ids"]
        generation = Generation(input_ids=ids, prompt_length=ids.shape[1], is_forward=how == "forward")
        walk.stepper.begin(generation)
        try:
            return WholeCall(walk.stepper, generation, torch.device("cpu"), lambda: self._call(how)).run()
        finally:
            walk.stepper.end()
            walk.stepper.release()

    def undisturbed(self, how: How) -> tuple[Walk, Any, list[int]]:
        """The call with the filters armed, what it gave, and the steps that were run again."""
        walk, again = Walk(Loaded(self.model, None), breakpoints=FILTERS), []
        walk.stepper.replays = lambda: again.append(walk.stepper.generation.step)
        return walk, self.walk(how, walk), again

    def stopped_in(self, how: How) -> str | None:
        """The module of the first stop, which ends the call; None without one."""
        stopped: list[str] = []

        def decide(stop: Stop) -> Motion:
            stopped.append(stop.place.path)
            walk.stepper.interrupt(Interruption())
            return Motion.RUN

        walk = Walk(Loaded(self.model, None), breakpoints=FILTERS)
        walk.stepper._stopped = decide  # type: ignore[assignment]  # it is interrupted, not resumed
        try:
            self.walk(how, walk)
        except Interruption:
            pass
        except Exception:  # of a model that cannot go on with NaN
            if not stopped:
                raise
        return stopped[0] if stopped else None

    def born_in(self, how: How) -> str | None:
        """The first module that returns NaN and was given none, as torch's own hooks see it without the debugger."""
        born: list[str] = []

        def ended(path: str, given: Any, output: Any) -> None:
            if not born and _has_nan(output) and not _has_nan(given):
                born.append(path)

        handles = [
            module.register_forward_hook(lambda _m, a, k, out, p=path: ended(p, (a, k), out), with_kwargs=True)
            for path, module in self.anatomy.modules.items()
        ]
        try:
            self.plain(how)
        except Exception:  # likewise
            assert born
        finally:
            for handle in handles:
                handle.remove()
        return born[0] if born else None

    def of_last_layers(self) -> list[str]:
        """The modules with weights of their own in the last layer of every stack."""
        last = [stack[-1] for stack in self.anatomy.stacks]
        inside = [p for p in self.anatomy.modules if any(f"{p}.".startswith(f"{layer}.") for layer in last)]
        return [path for path in inside if any(True for _ in _weights(self.anatomy.modules[path]))]

    @contextmanager
    def damaged(self, path: str) -> Iterator[Tensor]:
        """While this is open, one weight of a module is NaN. Gives the tensor that it is in."""
        weight = next(_weights(self.anatomy.modules[path]))
        index = weight.numel() // 2
        with torch.no_grad():
            kept = weight.view(-1)[index].clone()
            weight.view(-1)[index] = torch.nan
            try:
                yield weight
            finally:
                weight.view(-1)[index] = kept

    def _call(self, how: How) -> Any:
        if how != "forward":
            return self.model.generate(**self._options(how))
        with torch.no_grad():
            logits: Tensor = self.model(**self._given(), return_dict=True).logits
        return logits

    def _options(self, how: How) -> dict[str, Any]:
        given = {name: value for name, value in self._given().items() if name != "decoder_input_ids"}
        common = {"max_new_tokens": STEPS, "disable_compile": True, "eos_token_id": None}
        return {**given, **common, "do_sample": how == "sampled", "num_beams": 2 if how == "beams" else 1}

    def _given(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.inputs.items()}


def _weights(module: nn.Module) -> Iterator[Tensor]:
    return (p for p in module.parameters(recurse=False) if p.is_floating_point() and p.is_contiguous() and p.numel())


def _has_nan(value: Any, depth: int = 4) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and bool(value.isnan().any())
    if depth and isinstance(value, dict | list | tuple):
        return any(_has_nan(item, depth - 1) for item in (value.values() if isinstance(value, dict) else value))
    return False
