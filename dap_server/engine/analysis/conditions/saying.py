"""The logit lens as a forward passes: what the residual stream at a layer would say, read at once."""

from __future__ import annotations

from torch import Tensor

from dap_server.engine.analysis.answers import Answers
from dap_server.engine.analysis.lens.forwards import go_on
from dap_server.engine.analysis.lens.reader import Candidate, LensReader, Question, candidates
from dap_server.engine.analysis.lens.residuals import CannotRead, Stream, hidden_of
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.analysis.norms import first_tensor
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import judging
from dap_server.engine.execution.activations import live_activations
from dap_server.engine.execution.generation import Tape


class PassingLens:
    """Reads with the model's own norm and head, as `LensReader` does. What it has to know of a model it finds once."""

    def __init__(self, anatomy: Anatomy, answers: Answers) -> None:
        self._anatomy, self._answers = anatomy, answers
        self._tape: Tape | None = None
        self._stream: Stream | None = None

    def texts(self, candidate: judging.Candidate, sequence: int, count: int) -> list[str]:
        """The most likely ones, best first. Raises NotKnown and CannotRead."""
        path, phase = candidate.place.path, candidate.place.phase
        layer = self._anatomy.layer_of(path)
        if path not in self._anatomy.layer_paths or layer is None:
            raise NotKnown(f"the lens reads the residual stream at layers, and '{path}' is none")
        tape = candidate.generation.tape
        if tape is None:
            raise NotKnown("the lens has to run the step again, and this call cannot be")
        stream = self._known_stream(candidate, tape)
        if not any(p.path == path for p in stream.places):
            raise CannotRead(f"the lens reads the layers that the logits are made of, and '{path}' is none of them")
        if stream.is_whole or stream.is_pooled:  # it needs all positions, after all layers
            index = layer if phase == "after" else layer - 1
            reader = LensReader(candidate.generation, candidate.place.step, sequence, self._anatomy)
            return self._said(reader.read(Question(layers=[index], top=count, watch=())).columns[-1].said[0].top)
        logits = candidate.known.get("lens")
        if logits is None:
            logits = candidate.known["lens"] = self._logits(candidate, tape, stream)  # (B, V)
        mine = logits[min(sequence, logits.shape[0] - 1)][None]
        return self._said(candidates(mine, Question(top=count))[0][0])

    def _said(self, top: list[Candidate]) -> list[str]:
        return [self._answers.text(one.id) for one in top]

    def _known_stream(self, candidate: judging.Candidate, tape: Tape) -> Stream:
        """The residual stream of some step of this call: which layers it passes, and whether one position is enough."""
        if tape is not self._tape or self._stream is None:
            generation = candidate.generation
            self._stream = LensReader(generation, candidate.place.step, 0, self._anatomy).stream
            self._tape = tape
        return self._stream

    def _logits(self, candidate: judging.Candidate, tape: Tape, stream: Stream) -> Tensor:
        """(B, V) of the stream at the place, at its last position."""
        assert candidate.call is not None
        axes, root = stream.axes, live_activations(candidate.call)[-1]
        hidden = self.hidden(candidate)
        if hidden is None:
            raise CannotRead(f"'{candidate.place.path}' does not return a residual stream")
        last = hidden.detach().narrow(axes.position, hidden.shape[axes.position] - 1, 1)
        with tape.aside():
            return go_on(root.module, root.args, root.kwargs, self._anatomy, stream, last)[:, -1]

    @staticmethod
    def hidden(candidate: judging.Candidate) -> Tensor | None:
        """The residual stream at a layer: what goes into it, or what it has left."""
        if candidate.place.phase == "after":
            return first_tensor(candidate.output)
        return hidden_of(*candidate.given)
