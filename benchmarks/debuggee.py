"""What debugpy debugs while it is measured: stops at a line of a loop, with a few variables to look at."""

from __future__ import annotations

LINE = 13
"""Where the breakpoint goes."""


def add_up(values: list[int]) -> int:
    total, name, pair, table = 0, "numbers", (1, 2.0), {"one": 1}
    for value in values:
        last = total
        total = last + value
    return total + len(name) + len(pair) + len(table)


if __name__ == "__main__":
    add_up(list(range(100_000)))
