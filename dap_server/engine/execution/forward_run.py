"""One run of a launch configuration on a model that does not generate: one forward over the prompt, and its answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.answers import Answer, answers
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.decoding import SamplingLoop
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.prompting import ConfigurationError, Run, Write
from dap_server.engine.execution.stepping import Stepper
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.protocol.launch import LaunchArguments


class ForwardRun(Run):
    """A run of one step. It stops, steps and goes back as a generation does; its end shows what the model says."""

    def __init__(self, loaded: Loaded, launch: LaunchArguments, stepper: Stepper, write: Write) -> None:
        """Raises ConfigurationError for a prompt that the model cannot take, and for options of generation."""
        if launch.generation:
            named = ", ".join(launch.generation)
            kind = type(loaded.model).__name__
            raise ConfigurationError(f"generation: {kind} does not generate, it runs once: leave out {named}")
        super().__init__(loaded, launch, stepper, write)
        self._vocabulary = Vocabulary(loaded.tokenizer)

    def why_never(self, name: str) -> str | None:
        kind = type(self.model).__name__
        return f"{kind} does not generate, and is never at '{name}': set the breakpoint on a module"

    def prompt_length(self, edits: Edits) -> int:
        return self.inputs_of(edits)["input_ids"].shape[1]

    def beside(self, branches: Branches) -> SamplingLoop:
        raise NotImplementedError("there is no loop: the forward runs again as a whole")

    def _begin(self, name: str = "") -> None:
        if name:
            self._write(f"[{name}]\n")
        for i, row in enumerate(self._prompts()):
            self._line(i, self._vocabulary.readable(row))

    def _carry_out(self, generation: Generation) -> Tensor:
        """Returns the logits, (B, T, V) or (B, labels)."""
        generation.is_forward, generation.branches = True, self.branches

        def finish(logits: Tensor) -> None:
            generation.is_over = True
            generation.answers = answers(logits, self.inputs["input_ids"], self.model.config, self._vocabulary)
            self._finish(generation)

        def forward() -> Tensor:
            output: Any = self.model(**self.inputs_of(generation.branches.present.edits), return_dict=True)
            logits: Tensor = output.logits
            return logits

        with torch.no_grad():
            return WholeCall(self.stepper, generation, self.model.device, forward, finish).run()

    def turned(self, generation: Generation) -> None:
        if self._is_printed:
            self._write(f"[{generation.branches.present.name}]\n")
        super().turned(generation)

    def _finish(self, generation: Generation) -> None:
        if not self._is_printed:
            self._is_printed = True
            for i, row in enumerate(self._prompts()):
                self._write_answers(i, row, generation.answers[i])
        if self.launch.stops_at_end:
            self.stepper.at_end()

    def _write_answers(self, sequence: int, ids: list[int], said: list[Answer]) -> None:
        for answer in said:
            self._line(sequence, str(answer))
        if not said:
            mask = self._vocabulary.mask_token
            self._line(sequence, f"nothing to fill in: the prompt has no {mask}" if mask else "there is no mask token")
        elif all(answer.position is not None for answer in said):
            filled = {answer.position: answer.choices[0].id for answer in said}
            row = self.inputs["input_ids"][sequence].tolist()
            self._line(sequence, self._vocabulary.decode([filled.get(i, token) for i, token in enumerate(row)]))

    def _line(self, sequence: int, text: str) -> None:
        label = f"[sequence {sequence + 1}] " if self.inputs["input_ids"].shape[0] > 1 else ""
        self._write(f"{label}{text}\n")
