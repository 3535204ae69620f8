"""Sessions of a launch configuration, whose prompt can be edited, each stop answered by the next of some functions."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import set_seed

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import Edit, Prompt, Steps
from dap_server.engine.execution.forward_run import ForwardRun
from dap_server.engine.execution.prompting import PromptRun
from dap_server.engine.execution.stepping import Stop
from dap_server.protocol.launch import LaunchArguments
from tests.e2e.tiny_checkpoints import tokenizer
from tests.engine.execution.edits.sessions import Answer, Session
from tests.engine.execution.straight import SEED

WORDS = ["The", "capital", "of", "France", "Spain", "is", "Paris", "one", "two", "three"]
"""That the tokenizer of tiny models knows."""
TEXTS = ["The capital of France is", "one two"]


class Prompted(Session):
    """Stops at the end of its run too. When no answers are left it runs on."""

    def __init__(self, loaded: Loaded, answers: list[Answer], *breakpoints: str, **launch: Any) -> None:
        super().__init__(loaded.model, answers, *breakpoints)
        self.loaded = loaded
        self.written: list[str] = []
        arguments = LaunchArguments(**{"model": "tiny", "seed": SEED, **launch})
        kind = ForwardRun if loaded.task is Task.MASKED else PromptRun
        self.of_launch = kind(loaded, arguments, self.stepper, self.written.append)
        self.stepper.turned = self.of_launch.turned

    def go(self) -> Tensor:
        """What the run made, at its end."""
        try:
            return self.of_launch.run()
        finally:
            self.stepper.release()

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self.written)


def tiny(model: Any, task: Task = Task.CAUSAL) -> Loaded:
    """A tiny model with a tokenizer of whole words, which pads on the left."""
    words = tokenizer()
    words.padding_side = "left"
    return Loaded(model, words, task)


def prompt(text: str, sequence: int | None = None) -> Edit:
    return Edit(Prompt(sequence), Change("set", text=text), Steps(0))


def switch_to(id: int) -> Answer:
    """Answers a stop by going to another branch, where it was left."""

    def switch(session: Session, stop: Stop) -> None:
        branch = stop.generation.branches.of(id)
        session.stepper.turn(stop.generation.branches.turn_to(branch, stop.place), branch.left, f"to {branch.name}")

    return switch


def plain(loaded: Loaded, *prompts: str, **options: Any) -> Tensor:
    """The tokens of `generate` without the debugger, from the tests' seed."""
    set_seed(SEED)
    inputs = loaded.tokenizer(list(prompts), return_tensors="pt", padding=len(prompts) > 1)
    names = ("input_ids", "attention_mask")
    made = loaded.model.generate(**{name: inputs[name] for name in names}, disable_compile=True, **options)
    return made if isinstance(made, Tensor) else made.sequences
