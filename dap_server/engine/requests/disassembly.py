"""The operations of a step as instructions."""

from __future__ import annotations

import os

from dap_server.engine.inspection.disassembly import Instruction
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.addresses import AddressError, address_text, parse_address
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.requests import DisassembleArguments, DisassembleResponseBody
from dap_server.protocol.types import DisassembledInstruction, Source
from dap_server.wire.handlers import When

MAX_INSTRUCTIONS = 100_000


@requests.request(when=When.STOPPED)
def disassemble(session: EngineSession, args: DisassembleArguments) -> DisassembleResponseBody:
    """Exactly as many rows as were asked for; beyond the ends of the listing they are invalid."""
    try:
        address = parse_address(args.memory_reference, args.offset or 0)
    except AddressError as error:
        raise InvalidArguments(f"'disassemble': {error} at `$.memoryReference`") from None
    if args.instruction_count > MAX_INSTRUCTIONS:
        raise InvalidArguments(f"'disassemble': at most {MAX_INSTRUCTIONS} rows at a time at `$.instructionCount`")
    debuggee, stop, offset = session.ready, session.stop, args.instruction_offset or 0
    rows = session.on_model_thread(lambda: debuggee.disassembler.window(stop, address, offset, args.instruction_count))
    instructions = _instructions(rows, address)
    for location in filter(None, (one.location for one in instructions)):
        location.path = session.paths.to_client(location.path or "")
    return DisassembleResponseBody(instructions=instructions)


def _instructions(rows: list[Instruction | None], address: int) -> list[DisassembledInstruction]:
    """Rows beyond the ends get addresses that go on from there, below or above."""
    shown: list[DisassembledInstruction] = []
    first = next((i for i, row in enumerate(rows) if row is not None), None)
    start = rows[first].address if first is not None else address  # type: ignore[union-attr]  # not None
    last: Instruction | None = None
    for i, row in enumerate(rows):
        if row is not None:
            shown.append(_instruction(row, last))
            last = row
        else:
            at = last.address + i if last is not None else max(start - (first or 0), 0) + i
            shown.append(invalid_instruction(at))
    return shown


def invalid_instruction(address: int) -> DisassembledInstruction:
    return DisassembledInstruction(address=address_text(address), instruction="", presentation_hint="invalid")


def _instruction(row: Instruction, before: Instruction | None) -> DisassembledInstruction:
    """With its source where that is another one than of the row before."""
    source, known = row.source, before.source if before is not None else None
    is_new_file = source is not None and (known is None or known.path != source.path)
    is_new_line = source is not None and source != known
    return DisassembledInstruction(
        address=address_text(row.address),
        instruction=row.text,
        symbol=row.symbol,
        location=Source(name=os.path.basename(source.path), path=source.path) if source and is_new_file else None,
        line=source.line if source and is_new_line else None,
        presentation_hint="normal",
    )
