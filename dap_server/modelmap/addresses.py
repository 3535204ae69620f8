"""Addresses of operations: a region of a model's code, and the number of an operation in it.

A module call has two regions: what it does itself before it calls its first submodule, and, behind every submodule,
what the caller does until it calls the next. So an address depends on the model alone: it is the same in every session,
step and run. Number 0 of a region is its beginning, where the module is entered or left; its operations count from 1.
"""

from __future__ import annotations

_BITS = 20
LAST = (1 << _BITS) - 1
"""The highest number in a region; what lies further behind has it too."""
HIGHEST = (1 << 53) - 1
"""Clients whose numbers are those of JavaScript hold no larger ones exactly."""


class AddressError(ValueError):
    """The text is no address; the message says why."""


def address_of(region: int, number: int = 0) -> int:
    return region << _BITS | min(number, LAST)


def split(address: int) -> tuple[int, int]:
    """The region and the number in it."""
    return address >> _BITS, address & LAST


def address_text(address: int) -> str:
    return f"0x{address:x}"


def parse_address(text: str, offset: int = 0) -> int:
    """Of a reference, hexadecimal after `0x` or decimal. Raises AddressError."""
    try:
        address = int(text, 0) + offset
    except ValueError:
        raise AddressError(f"'{text}' is no address: use one that 'disassemble' or a stack frame gives") from None
    if not 0 <= address <= HIGHEST:
        raise AddressError(f"address {address} lies outside of every model: use one that 'disassemble' gives")
    return address
