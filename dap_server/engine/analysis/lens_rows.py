"""The Lens scope of a frame: what each layer would say next."""

from __future__ import annotations

import torch

from dap_server.engine.analysis.lens import Reading, read
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows

TOP = 5


def lens_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For the frames of layers and steps; found by running the step again, when it is opened."""
    generation = frame.stop.generation
    if generation.tape is None or not generation.is_own_loop or not anatomy.layer_paths:
        return None
    is_layer = frame.kind in ("module", "past layer") and frame.path in anatomy.layer_paths
    if not is_layer and frame.kind not in ("step", "selection", "past step"):
        return None
    return Scope("Lens", Rows(lambda: _rows(frame, anatomy, vocabulary)), expensive=True)


def _rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    tape = frame.stop.generation.tape
    assert tape is not None
    readings = read(tape, frame.step, anatomy)
    return [_row(reading, frame.sequence, readings[-1], vocabulary) for reading in readings]


def _row(reading: Reading, sequence: int, final: Reading, vocabulary: Vocabulary) -> Row:
    probs = torch.softmax(reading.logits[sequence].double(), dim=-1)  # (V,)
    best, ids = probs.topk(min(TOP, probs.numel()))
    answer = int(final.logits[sequence].argmax())
    rank = int((probs > probs[answer]).sum()) + 1
    says = f"{vocabulary.quoted(int(ids[0]))} {float(best[0]):.1%}"
    watched = f"{vocabulary.quoted(answer)} rank {rank}, {float(probs[answer]):.2%}"

    def children() -> list[Row]:
        top = [
            Row(f"[{i}]", f"{vocabulary.quoted(int(t))}  id {int(t)}  {float(p):.6g}")
            for i, (p, t) in enumerate(zip(best, ids, strict=True))
        ]
        return [
            *top,
            Row("norm", f"{float(reading.norm[sequence]):.6g}", "float"),
            Row("update", f"{float(reading.update[sequence]):.6g}", "float"),
            Row("cosine to the last layer", f"{float(reading.cosine[sequence]):.6g}", "float"),
        ]

    return Row(reading.path or "embedding", f"{says} · {watched}", children=Rows(children, len(best) + 3))
