"""The scopes of a frame that have to be worked out, each by one function."""

from __future__ import annotations

from collections.abc import Callable

from dap_server.engine.analysis.attention.rows import attention_scope
from dap_server.engine.analysis.attribution.rows import attribution_scope
from dap_server.engine.analysis.cache.rows import cache_scope
from dap_server.engine.analysis.experts.rows import experts_scope
from dap_server.engine.analysis.gradients.rows import gradients_scope, saliency_scope
from dap_server.engine.analysis.lens.rows import lens_scope, residual_scope
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope

Analysis = Callable[[Frame, Anatomy, Vocabulary], Scope | None]
"""Gives None where its scope does not fit the frame. It runs nothing: the scope's rows do, when they are opened."""

ANALYSES: list[Analysis] = [
    attention_scope,
    lens_scope,
    residual_scope,
    attribution_scope,
    cache_scope,
    experts_scope,
    gradients_scope,
    saliency_scope,
]


def analysis_scopes(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Scope]:
    """Of a frame, in their order; an operation has only what it is given, a Python frame its names."""
    if frame.kind in ("operation", "python"):
        return []
    made = (analysis(frame, anatomy, vocabulary) for analysis in ANALYSES)
    return [scope for scope in made if scope is not None]
