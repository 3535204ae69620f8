"""Which value of a run somebody points at, so that it can be watched when the run has gone on."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable
from types import EllipsisType
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, EncoderDecoderCache

from dap_server.conditions.data_ids import DataId, DataIdError, Index, parse_data_id
from dap_server.engine.analysis.norms import first_tensor
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.stepping import NOTHING
from dap_server.engine.execution.watchable import CannotWatch, watch_of
from dap_server.engine.execution.watching import Watch
from dap_server.engine.inspection.arguments import bound_arguments
from dap_server.engine.inspection.frames import Frame
from dap_server.modelmap.patterns import WHOLE_MODEL
from dap_server.protocol.errors import RequestError

Look = Callable[[str], Any]
"""The value of an expression in a frame, without running anybody's code. Raises RequestError."""

WHICH = (
    "one can watch parameters and buffers, the first tensor that a running module is given or returns, keys and values "
    "of the cache, options of sampling and probabilities of tokens"
)


def watch_for(text: str, frame: Frame, look: Look, anatomy: Anatomy, vocabulary: Vocabulary) -> Watch:
    """What a data id, an expression of a frame or a name means, in this order. Raises CannotWatch."""
    with contextlib.suppress(DataIdError):
        if parse_data_id(text).kind is not None:
            return watch_of(text, anatomy, vocabulary)
    if (data := pointed_at(text, frame, look, anatomy)) is not None:
        return watch_of(str(data), anatomy, vocabulary)
    try:
        return watch_of(text, anatomy, vocabulary)
    except CannotWatch:
        with contextlib.suppress(RequestError):
            look(text)
            raise CannotWatch(f"'{text}' cannot be watched: {WHICH}") from None
        raise


def watch_at(expression: str, frame: Frame, look: Look, anatomy: Anatomy, vocabulary: Vocabulary) -> Watch:
    """What an expression of a frame means. Raises CannotWatch."""
    data = pointed_at(expression, frame, look, anatomy)
    if data is None:
        raise CannotWatch(f"'{expression}' cannot be watched: {WHICH}")
    return watch_of(str(data), anatomy, vocabulary)


def pointed_at(text: str, frame: Frame, look: Look, anatomy: Anatomy) -> DataId | None:
    """The part of which value of the run an expression names: `module.weight[3][0]` is one of a parameter."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    indexes: list[Index] = []
    while True:
        found = _identified(ast.unparse(node), frame, look, anatomy)
        if found is not None:
            return DataId(found.kind, found.name, tuple(reversed(indexes)))
        if not isinstance(node, ast.Subscript) or (index := constant_index(node.slice)) is None:
            return None
        indexes.append(index)
        node = node.value


def _identified(expression: str, frame: Frame, look: Look, anatomy: Anatomy) -> DataId | None:
    """What the run knows the very tensor as that an expression gives."""
    try:
        value = look(expression)
    except RequestError:
        return None
    if not isinstance(value, Tensor):
        return None
    return _parameter(value, frame, anatomy) or _passing(value, frame) or _cached(value, frame)


def _parameter(value: Tensor, frame: Frame, anatomy: Anatomy) -> DataId | None:
    """One that several modules share is that of the frame's own."""
    own = [frame.path] if frame.path in anatomy.modules and frame.path is not None else []
    for path in (*own, *anatomy.modules):
        module = anatomy.modules[path]
        for name, held in (*module._parameters.items(), *module._buffers.items()):
            if held is value:
                return DataId("parameter", f"{path}.{name}" if path else name)
    return None


def _passing(value: Tensor, frame: Frame) -> DataId | None:
    if frame.activation is None or frame.path is None:
        return None
    path, output = frame.path or WHOLE_MODEL, frame.stop.output
    if frame.is_top and output is not NOTHING and first_tensor(output, is_any=True) is value:
        return DataId("activation", path)
    if first_tensor(bound_arguments(frame.activation), is_any=True) is value:
        return DataId("input", path)
    return None


def _cached(value: Tensor, frame: Frame) -> DataId | None:
    tape = frame.stop.generation.tape
    cache: Any = None if tape is None else tape.cache
    parts = {"": cache}
    if isinstance(cache, EncoderDecoderCache):
        parts = {"": cache.self_attention_cache, "cross.": cache.cross_attention_cache}
    for part, layers in parts.items():
        for i, layer in enumerate(layers.layers if isinstance(layers, Cache) else []):
            for name, held in vars(layer).items():
                if held is value:
                    return DataId("cache", f"{part}{i}.{name}")
    return None


def constant_index(node: ast.expr) -> Index | None:
    """What stands in brackets, where it is written out in numbers."""
    parts = [_part(part) for part in (node.elts if isinstance(node, ast.Tuple) else [node])]
    return None if None in parts else tuple(part for part in parts if part is not None)


def _part(node: ast.expr | None) -> int | slice | EllipsisType | None:
    if isinstance(node, ast.Slice):
        bounds = [node.lower, node.upper, node.step]
        known = [_part(bound) for bound in bounds]
        is_written = all((bound is None) == (number is None) for bound, number in zip(bounds, known, strict=True))
        return slice(*known) if is_written else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _part(node.operand)
        return -number if isinstance(number, int) else None
    if isinstance(node, ast.Constant) and (type(node.value) is int or node.value is ...):
        return node.value
    return None
