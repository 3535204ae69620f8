"""One run of a launch configuration: prompt in, `generate`, text out as it is made."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed
from transformers.generation.configuration_utils import GenerationMode

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tokens import TextStream, Vocabulary
from dap_server.engine.execution.beginnings import Beginning, Beginnings
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.calls.decoding import own_decoding, prepared_loop
from dap_server.engine.execution.decoding import SamplingLoop
from dap_server.engine.execution.edits.edits import Edits, PromptText
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.prompts import ConfigurationError as ConfigurationError
from dap_server.engine.execution.prompts import encode, prompted, texts_of
from dap_server.engine.execution.stepping import Rewind, Stepper
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.protocol.errors import RequestError, did_you_mean
from dap_server.protocol.launch import LaunchArguments

Write = Callable[[str], None]

SECONDS_BETWEEN_PIECES = 0.1
"""Text of tokens that follow each other faster is decoded and sent together."""
SHOWN_AGAIN = 100
"""Characters of what a branch shares with another, that stand before what it does not."""


class Transcript:
    """Writes the text of a run: the first sequence as its tokens come, the others whole at the end."""

    def __init__(self, vocabulary: Vocabulary, write: Write, continues: bool) -> None:
        """`continues`: the model's text goes on where the prompt ends; an encoder–decoder begins anew."""
        self._vocabulary, self._write, self._continues = vocabulary, write, continues
        self._stream = TextStream(vocabulary)
        self._prompt: list[int] = []
        self._waiting: list[Tensor] = []
        self._written_at = 0.0

    def begin(self, prompt: list[int], name: str = "") -> None:
        """`prompt`: ids of the first sequence, without padding. `name`: of the branch, if it is not the first."""
        if name:
            self.flush()
            self._emit(f"\n[{name}] ")
        self._stream = TextStream(self._vocabulary)
        self._waiting.clear()
        self._emit(self._stream.complete(prompt))
        if self._continues:
            self._prompt = prompt
        else:
            self._emit("\n")
            self._stream, self._prompt = TextStream(self._vocabulary), []

    def token(self, tokens: Tensor) -> None:
        """A step chose tokens (B,)."""
        self._waiting.append(tokens)
        if time.monotonic() - self._written_at > SECONDS_BETWEEN_PIECES:
            self.flush()

    def flush(self) -> None:
        """Writes what is known; called before every stop."""
        if self._waiting:
            tokens = torch.stack(self._waiting)[:, 0].tolist()
            self._waiting.clear()
            self._emit(self._stream.put(tokens))
        self._written_at = time.monotonic()

    def turned(self, name: str, tokens: list[int]) -> None:
        """The text of the first sequence, which has these tokens, goes on as a branch, on a line of its own."""
        self.flush()
        self._stream = TextStream(self._vocabulary)
        text = self._stream.complete(self._prompt + tokens)
        self._emit(f"\n[{name}] {text if len(text) <= SHOWN_AGAIN else f'…{text[-SHOWN_AGAIN:]}'}")

    def finish(self, sequences: Tensor, prompt_length: int) -> None:
        """Writes the rest: of the first sequence, then every other one, labelled. `sequences`: (B, T)."""
        self.flush()
        first, *others = sequences.tolist()
        self._emit(self._stream.complete(self._prompt + first[prompt_length:]))
        self._emit("\n")
        for i, row in enumerate(others, start=2):
            self._emit(f"[sequence {i}] {self._vocabulary.decode(row)}\n")

    def _emit(self, text: str) -> None:
        if text:
            self._write(text)


class Run(ABC):
    """What `launch` asked for, ready to be run any number of times on one loaded model."""

    def __init__(self, loaded: Loaded, launch: LaunchArguments, stepper: Stepper, write: Write) -> None:
        """Raises ConfigurationError for a prompt that the model cannot take."""
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.launch, self.stepper = launch, stepper
        self.branches = Branches()
        self._write = write
        self._is_printed = False
        self._beginnings = Beginnings(self.model, self.model.device)
        self._first: Beginning | None = None
        self._encoded: dict[tuple[PromptText, ...], dict[str, Tensor]] = {}
        self.inputs_of(Edits())

    @property
    def inputs(self) -> dict[str, Tensor]:
        """`input_ids` and what belongs to them, each (B, T), of the present branch."""
        return self.inputs_of(self.branches.present.edits)

    def inputs_of(self, edits: Edits) -> dict[str, Tensor]:
        """The same with the prompts of a list of edits. Raises ConfigurationError, CannotEdit."""
        prompts = edits.prompts
        if prompts not in self._encoded:
            self._encoded[prompts] = encode(self.tokenizer, prompted(self.launch, prompts), self.model.device)
        return self._encoded[prompts]

    def texts(self, edits: Edits) -> list[str]:
        """What every sequence begins with; of a chat its last message of the user. Raises CannotEdit."""
        return texts_of(prompted(self.launch, edits.prompts))

    def run(self) -> Tensor:
        """Runs it. Returns what it made; raises what the model raises, and Interruption."""
        if self.launch.seed is not None:
            set_seed(self.launch.seed)
        self._begin()
        if self.launch.stop_on_entry and not self.launch.no_debug:
            self.stepper.pause("entry")
        self._first, self.branches = self._beginnings.now(), Branches()
        try:
            while True:
                try:
                    return self._call()
                except Rewind as rewind:
                    self._begin_anew(rewind)
        finally:
            self.stepper.end()

    def _call(self) -> Tensor:
        """From the prompt of the present branch on."""
        self._is_printed = False
        ids: Tensor = self.inputs["input_ids"]
        mask: Tensor | None = self.inputs.get("attention_mask")
        generation = Generation(input_ids=ids, attention_mask=mask, prompt_length=ids.shape[1], run=self)
        self.stepper.begin(generation)
        return self._carry_out(generation)

    def _begin_anew(self, rewind: Rewind) -> None:
        """The present branch is one with another prompt."""
        assert rewind.turn is not None
        self._restore()
        self.branches.take(rewind.turn)
        self.stepper.anew = rewind
        self._begin(self.branches.present.name)

    def _restore(self) -> None:
        """The model and the generators are as they were before the first call."""
        assert self._first is not None
        self._beginnings.restore(self._first)

    def flush(self) -> None:  # noqa: B027  # most runs hold nothing back
        """Writes what is known; called before every stop."""

    def turned(self, generation: Generation) -> None:
        """What was written of the present step and later ones is no longer so: the run goes another way from here."""
        self._is_printed = False

    @abstractmethod
    def why_never(self, name: str) -> str | None:
        """Why the run does not tell when it is at a place of token selection; None if it does."""

    @abstractmethod
    def prompt_length(self, edits: Edits) -> int:
        """T of the padded prompts, where the steps go on from them."""

    @abstractmethod
    def beside(self, branches: Branches) -> SamplingLoop:
        """A call with another prompt, as `PromptedRun` has it."""

    @abstractmethod
    def _begin(self, name: str = "") -> None:
        """Writes the prompt, with the name of its branch if that is not the first."""

    @abstractmethod
    def _carry_out(self, generation: Generation) -> Tensor: ...

    def _prompts(self) -> Iterator[list[int]]:
        """Ids of every sequence, without padding."""
        ids, mask = self.inputs["input_ids"], self.inputs.get("attention_mask")
        for i, row in enumerate(ids):
            yield (row if mask is None else row[mask[i].bool()]).tolist()


class PromptRun(Run):
    """A run that generates."""

    def __init__(self, loaded: Loaded, launch: LaunchArguments, stepper: Stepper, write: Write) -> None:
        """Raises ConfigurationError for a prompt or generation options that the model cannot take."""
        self.config = generation_config(loaded.model, launch.generation)
        super().__init__(loaded, launch, stepper, write)
        self.transcript = Transcript(Vocabulary(self.tokenizer), write, continues=not self._has_encoder)

    def flush(self) -> None:
        self.transcript.flush()

    def turned(self, generation: Generation) -> None:
        ids, name = generation.input_ids, generation.branches.present.name
        if self._is_own_loop and ids is not None:
            self.transcript.turned(name, ids[0, generation.prompt_length :].tolist())
        elif self._is_printed:
            self.transcript.turned(name, [])
        super().turned(generation)

    def why_never(self, name: str) -> str | None:
        if self._is_own_loop:
            return None
        return f"this decoding method does not tell when it is at '{name}': set the breakpoint on a module"

    def prompt_length(self, edits: Edits) -> int:
        return 1 if self._has_encoder else self.inputs_of(edits)["input_ids"].shape[1]

    def beside(self, branches: Branches) -> SamplingLoop:
        edits, settings = branches.present.edits, self._beginnings.settings()
        try:
            self._restore()
            loop = prepared_loop(lambda: self._generate(edits))
        except RequestError:
            raise
        except Exception as error:
            raise CannotEdit(f"`generate` does not take this prompt: {' '.join(str(error).split())}") from error
        finally:
            self._beginnings.set(settings)
        loop.generation.branches = branches
        return loop

    def _begin(self, name: str = "") -> None:
        self.transcript.begin(next(self._prompts()), name)

    def _carry_out(self, generation: Generation) -> Tensor:
        """Returns ids (B, T)."""
        with own_decoding(self.stepper, self):
            if not self._is_own_loop:
                return self._generate_untouched(generation)
            if self._has_encoder:  # it runs before our loop, which cannot run it again
                return WholeCall(self.stepper, generation, self.model.device, self._generate, counts=False).run()
            return self._generate()

    def _generate(self, edits: Edits | None = None) -> Tensor:
        inputs = self.inputs if edits is None else self.inputs_of(edits)
        output = self.model.generate(**inputs, **self._extras(), generation_config=self.config)
        return output if isinstance(output, Tensor) else output.sequences

    def _generate_untouched(self, generation: Generation) -> Tensor:
        """With a decoding method that runs in another loop than ours."""

        def finish(sequences: Tensor) -> None:
            if self._has_encoder and generation.encoded is None:
                generation.encoded, generation.prompt_length = replace(generation), 0
            generation.input_ids = sequences
            self.finished(generation)

        generation.branches = self.branches

        def call() -> Tensor:
            return self._generate(generation.branches.present.edits)

        return WholeCall(self.stepper, generation, self.model.device, call, finish).run()

    def _extras(self) -> dict[str, Any]:
        """The tokenizer only where `generate` needs it: it hands it on to the forward of every module."""
        needs = self.config.stop_strings is not None or self.config.token_healing
        return {"tokenizer": self.tokenizer} if needs else {}

    def token(self, tokens: Tensor) -> None:
        """A step of our own loop chose tokens (B,)."""
        self.transcript.token(tokens)

    def finished(self, generation: Generation) -> None:
        """The last token is chosen: prints the rest, and stops at the end when the configuration says so."""
        generation.is_over = True
        assert generation.input_ids is not None
        if not self._is_printed:
            self._is_printed = True
            self.transcript.finish(generation.input_ids, generation.prompt_length)
        if self.launch.stops_at_end:
            self.stepper.at_end()

    @property
    def _has_encoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def _is_own_loop(self) -> bool:
        return self.config.get_generation_mode() in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)


def generation_config(model: Any, options: dict[str, Any]) -> Any:
    """The model's own generation config with the options of the launch configuration.

    Raises:
        ConfigurationError: an option that GenerationConfig does not have, or values that contradict each other.
    """
    config = copy.deepcopy(model.generation_config)
    known = set(config.to_dict())
    for name in options:
        if name not in known:
            raise ConfigurationError(f"generation: unknown option '{name}'{did_you_mean(name, known)}")
    try:
        config.update(**options, disable_compile=True)
        config.validate()
    except Exception as error:
        raise ConfigurationError(f"generation: {' '.join(str(error).split())}") from error
    return config
