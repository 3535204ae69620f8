"""`llm/attention`: where the heads of a layer look."""

from __future__ import annotations

from dap_server.engine.analysis.attention.rows import TITLE, Labels, calls_in, row_of
from dap_server.engine.analysis.attention.sinks import sink_keys
from dap_server.engine.analysis.attention.tiles import HeadTile, head_tiles
from dap_server.engine.analysis.attention.weights import AttentionCall
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import why_never_called
from dap_server.engine.execution.stage import reporting
from dap_server.engine.inspection.frames import Frame, frame_of_step
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.tiles import tile_body
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.attention import (
    AttentionArguments,
    AttentionAxis,
    AttentionHead,
    AttentionOfModule,
    AttentionResponseBody,
    Positions,
)
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/attention")
def attention(session: EngineSession, args: AttentionArguments) -> AttentionResponseBody:
    """Tiles of attention weights with their tokens, and what every head does. Runs the frame's step again."""
    debuggee = session.ready
    frame = frame_of_step(debuggee.references.frame(args.frame_id), args.step)
    path = _path(frame, args.layer, debuggee.anatomy)

    def job() -> AttentionResponseBody:
        calls = calls_in(frame, path, debuggee.anatomy)
        wanted = [(call, _heads(call, args.heads)) for call in calls]
        count = sum(len(heads) for _, heads in wanted)
        if count > args.max_cells:
            raise _wrong(f"maxCells {args.max_cells} is less than one for each of {count} heads", "maxCells")
        cells = args.max_cells // max(count, 1)
        return AttentionResponseBody(
            step=frame.step,
            path=path,
            calls=[_call(session, frame, call, heads, cells, args) for call, heads in wanted],
        )

    return session.on_model_thread(job)


def _path(frame: Frame, layer: int | str | None, anatomy: Anatomy) -> str:
    """The module that is asked for; the layer that the frame is in when none is."""
    if frame.kind in ("label", "prompt"):
        raise _wrong("nothing runs in this frame: take one of a module or a step", "frameId")
    if frame.stop.generation.tape is None and frame.stop.generation.encoder is None:
        raise _wrong("this call cannot be run again, so its attention cannot be looked at", "frameId")
    if isinstance(layer, str):
        if problem := why_never_called(layer, anatomy):
            raise _wrong(problem, "layer")
        return layer
    stack = anatomy.stack_of(frame.path or "")
    if layer is None:
        index = anatomy.layer_of(frame.path or "")
        if index is None:
            raise _wrong(f"this frame is in no layer: give one, {_range(stack)}", "layer")
        return stack[index]
    if not 0 <= layer < len(stack):
        raise _wrong(f"no layer {layer}: there are {_range(stack)}", "layer")
    return stack[layer]


def _range(stack: list[str]) -> str:
    return f"0 to {len(stack) - 1} ({stack[0]} …), or the path of a module" if stack else "the path of a module"


def _heads(call: AttentionCall, heads: list[int] | None) -> list[int]:
    count = call.shape[1]
    if heads is None:
        return list(range(count))
    if not heads:
        raise _wrong("an empty list of heads: leave it out for all of them", "heads")
    for head in heads:
        if not 0 <= head < count:
            raise _wrong(f"no head {head} in {call.path}: there are 0 to {count - 1}", "heads")
    return list(dict.fromkeys(heads))


def _indexes(
    wanted: Positions | None, first: int, count: int, call: AttentionCall, name: str, argument: str = ""
) -> range:
    """The stretch that is asked for as indexes of rows or keys."""
    argument = argument or name
    if wanted is None:
        return range(count)
    if wanted.start >= wanted.end:
        raise _wrong(f"{name} begin at {wanted.start} and end before {wanted.end}: `end` has to be larger", argument)
    if wanted.start < first or wanted.end > first + count:
        there = f"in this step the {name} of {call.path} are from {first} up to, and without, {first + count}"
        raise _wrong(f"no {name} from {wanted.start} up to {wanted.end}: {there},", argument)
    return range(wanted.start - first, wanted.end - first)


def _call(
    session: EngineSession, frame: Frame, call: AttentionCall, heads: list[int], cells: int, args: AttentionArguments
) -> AttentionOfModule:
    text, sequence = call.text, row_of(call, frame)
    _, head_count, queries, keys = call.shape
    known = text.known_keys or keys
    rows = _indexes(args.queries, text.first_query, queries, call, "queries")
    columns = _indexes(args.keys, text.first_key, known, call, "keys")
    left_out = _left_out(call, sequence, rows, known, args)
    made = head_tiles(call, sequence, heads, rows, columns, cells, args.dtype, reporting(TITLE), left_out)
    labels = Labels(call, sequence, session.ready.vocabulary)
    down, across = made[0].weights.blocks
    return AttentionOfModule(
        path=call.path,
        kind=call.kind(sequence),
        kernel=call.kernel,
        source=call.source,
        head_count=head_count,
        window=call.window,
        queries=AttentionAxis(
            start=text.first_query + rows.start,
            end=text.first_query + rows.stop,
            size=queries,
            labels=[labels.query(row) for row in rows[::down]],
            block=down,
        ),
        keys=AttentionAxis(
            start=text.first_key + columns.start,
            end=text.first_key + columns.stop,
            size=known,
            labels=[labels.key(key) for key in columns[::across]],
            block=across,
            are_positions=text.known_keys > 0,
        ),
        heads=[_head(head, left_out[head.head] if left_out else None, text.first_key) for head in made],
        start=text.start(sequence),
    )


def _left_out(
    call: AttentionCall, sequence: int, rows: range, known: int, args: AttentionArguments
) -> list[int | None] | None:
    """The index of the key that each head's tile is without."""
    if args.leave_out is None:
        return None
    if isinstance(args.leave_out, str):
        return sink_keys(call, sequence, args.leave_out, rows, reporting(TITLE))
    where = Positions(start=args.leave_out, end=args.leave_out + 1)
    return [_indexes(where, call.text.first_key, known, call, "keys", "leaveOut").start] * call.shape[1]


def _head(made: HeadTile, left_out: int | None, first_key: int) -> AttentionHead:
    summary = made.summary
    return AttentionHead(
        head=made.head,
        kind=summary.kind if summary.scores else None,
        scores=summary.scores or None,
        entropy=summary.entropy,
        first=summary.first,
        distance=summary.distance,
        learnt_sink=summary.sink,
        left_out=None if left_out is None else first_key + left_out,
        tile=tile_body(made.weights),
        sinks=None if made.sinks is None else tile_body(made.sinks),
    )


def _wrong(text: str, argument: str) -> InvalidArguments:
    return InvalidArguments(f"'llm/attention': {text} at `$.{argument}`")
