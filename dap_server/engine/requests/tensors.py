"""One tensor: pages of it as tiles, Python that makes it again, a file with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from torch import Tensor

from dap_server.engine.execution.stage import reporting
from dap_server.engine.inspection.literals import tensor_literal
from dap_server.engine.inspection.rows import Children
from dap_server.engine.inspection.tensors import slicing, tiles
from dap_server.engine.inspection.tensors.axes import Axes
from dap_server.engine.inspection.tensors.saving import save
from dap_server.engine.inspection.tensors.slicing import Page
from dap_server.engine.inspection.tensors.text import dtype_name
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.tensor_numbers import numbers
from dap_server.engine.requests.tiles import tile_body
from dap_server.engine.requests.values import frame_of, result_row
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.tensors import (
    SaveTensorArguments,
    SaveTensorResponseBody,
    TensorArguments,
    TensorAxis,
    TensorLiteralArguments,
    TensorLiteralResponseBody,
    TensorResponseBody,
)
from dap_server.wire.handlers import When

T = TypeVar("T")

_Named = TensorArguments | TensorLiteralArguments | SaveTensorArguments


class _Found(NamedTuple):
    tensor: Tensor
    axes: Axes


@requests.request(when=When.STOPPED, command="llm/tensor")
def tensor(session: EngineSession, args: TensorArguments) -> TensorResponseBody:
    """A page of one or two axes of a tensor, as numbers."""

    def job(found: _Found) -> TensorResponseBody:
        report = reporting("Looking through a tensor")
        try:
            page = slicing.page(found.tensor, found.axes, args.slices or [])
            tile = tiles.tile(page.values, args.max_cells, args.dtype, args.reduction, lambda: report(0, 1))
        except ValueError as error:
            raise InvalidArguments(f"'llm/tensor': {error}") from None
        stats, spread = numbers(found.tensor, page, args)
        return TensorResponseBody(
            shape=list(found.tensor.shape),
            dtype=dtype_name(found.tensor.dtype),
            device=str(found.tensor.device),
            axes=_axes(found.tensor, page, tile.blocks),
            tile=tile_body(tile),
            statistics=stats,
            distribution=spread,
        )

    return _on_tensor(session, args, job)


@requests.request(when=When.STOPPED, command="llm/tensorLiteral")
def tensor_text(session: EngineSession, args: TensorLiteralArguments) -> TensorLiteralResponseBody:
    """Python that makes a tensor again."""
    return _on_tensor(
        session, args, lambda found: TensorLiteralResponseBody(text=tensor_literal(found.tensor, args.library))
    )


@requests.request(when=When.STOPPED, command="llm/saveTensor")
def save_tensor(session: EngineSession, args: SaveTensorArguments) -> SaveTensorResponseBody:
    """Writes a tensor to a file."""

    def job(found: _Found) -> SaveTensorResponseBody:
        size = save(found.tensor, args.path, args.overwrite, reporting("Writing a tensor"))
        shape, dtype = list(found.tensor.shape), dtype_name(found.tensor.dtype)
        return SaveTensorResponseBody(path=args.path, bytes=size, shape=shape, dtype=dtype)

    return _on_tensor(session, args, job)


def _on_tensor(session: EngineSession, args: _Named, job: Callable[[_Found], T]) -> T:
    """Does something with the tensor that a request names, on the model thread."""
    references = session.ready.references
    if (args.variables_reference is None) == (args.expression is None):
        raise InvalidArguments("give either a `variablesReference` of a tensor, or an `expression`")
    if args.variables_reference is not None:
        children = references.children(args.variables_reference)
        return session.on_model_thread(lambda: job(_of(children, "this variable")))
    expression, frame = args.expression or "", frame_of(session, args.frame_id)

    def evaluate() -> T:
        value = session.ready.evaluator.evaluate(expression, frame)
        return job(_of(result_row(session, expression, frame, value).children, f"'{expression}'"))

    return session.on_model_thread(evaluate)


def _of(children: Children | None, what: str) -> _Found:
    found, axes = getattr(children, "tensor", None), getattr(children, "axes", None)
    if not isinstance(found, Tensor) or not isinstance(axes, Axes):
        raise InvalidArguments(f"{what} is no tensor")
    return _Found(found, axes)


def _axes(tensor: Tensor, page: Page, blocks: tuple[int, ...]) -> list[TensorAxis]:
    axes, shown = [], iter(blocks)
    for i, (name, size, pick) in enumerate(zip(page.axes.names, tensor.shape, page.picks, strict=True)):
        if isinstance(pick, int):
            axes.append(TensorAxis(name=name, size=size, index=pick))
        else:
            labels = page.labels(i, next(shown))
            axes.append(TensorAxis(name=name, size=size, start=pick[0], end=pick[1], labels=labels))
    return axes
