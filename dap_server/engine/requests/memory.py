"""The bytes of tensors: readMemory, writeMemory."""

from __future__ import annotations

import base64
import binascii

from dap_server.engine.inspection.tensors.raw_bytes import UnfitTensor
from dap_server.engine.requests import editing
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.events import InvalidatedEventBody, MemoryEventBody
from dap_server.protocol.requests import (
    ReadMemoryArguments,
    ReadMemoryResponseBody,
    WriteMemoryArguments,
    WriteMemoryResponseBody,
)
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED)
def read_memory(session: EngineSession, args: ReadMemoryArguments) -> ReadMemoryResponseBody:
    """Bytes of a tensor's elements in row-major order. What is asked for beside the tensor is unreadable."""
    memory = session.ready.references.memory(args.memory_reference)
    wanted = memory.base + (args.offset or 0)
    first = min(max(wanted, 0), memory.size)
    end = min(max(wanted + args.count, first), memory.size)
    if wanted < 0:  # what comes before the tensor is unreadable as far as it, or as far as is asked
        return ReadMemoryResponseBody(address=_address(0), unreadable_bytes=min(-wanted, args.count))
    data = session.on_model_thread(lambda: memory.read(first, end))
    return ReadMemoryResponseBody(
        address=_address(wanted),
        data=base64.b64encode(data).decode("ascii") if data else None,
        unreadable_bytes=args.count - len(data) or None,
    )


@requests.request(when=When.STOPPED)
def write_memory(session: EngineSession, args: WriteMemoryArguments) -> WriteMemoryResponseBody:
    """Puts bytes into a tensor that the run uses: an edit, where it is a value that can be edited."""
    memory = session.ready.references.memory(args.memory_reference)
    try:
        data = base64.b64decode(args.data, validate=True)
    except binascii.Error as error:
        raise InvalidArguments(f"'writeMemory': no base64 at `$.data`: {error}") from None
    wanted = memory.base + (args.offset or 0)
    first, end = min(max(wanted, 0), memory.size), max(min(wanted + len(data), memory.size), 0)
    fitting = data[first - wanted : end - wanted] if first < end else b""
    if len(fitting) < len(data) and not args.allow_partial:
        where = f"bytes {wanted:,} to {wanted + len(data):,}"
        raise UnfitTensor(f"{where} are not all in the tensor, which has {memory.size:,}: set `allowPartial`, or less")
    if fitting:
        if not editing.write(session, args.memory_reference, first, fitting):
            session.on_model_thread(lambda: memory.write(first, fitting))
            session.ready.scopes.forget()
        offset, count = first - memory.base, len(fitting)
        session.afterwards(lambda: _tell(session, args.memory_reference, offset, count))
    return WriteMemoryResponseBody(
        offset=first - memory.base if args.allow_partial else None, bytes_written=len(fitting)
    )


def _tell(session: EngineSession, reference: str, offset: int, count: int) -> None:
    changed = MemoryEventBody(memory_reference=reference, offset=offset, count=count)
    session.connection.event("memory", changed)
    session.connection.event("invalidated", InvalidatedEventBody(areas=["variables"]))


def _address(byte: int) -> str:
    """Counted from the beginning of the tensor: its elements need not follow each other in the process."""
    return f"0x{byte:x}"
