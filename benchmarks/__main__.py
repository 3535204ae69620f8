"""`python -m benchmarks [NAME …] [--quick] [--write]`: measures, prints the table, and may keep it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from benchmarks import (
    armed,
    at_a_stop,
    attached,
    attention,
    large_tensor,
    lens,
    maps,
    peers,
    programs,
    restart,
    startup,
    stops,
    time_travel,
)
from benchmarks.measure import PROCESSOR, Row, machine, table

BENCHMARKS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "startup": startup.run,
    "at_a_stop": at_a_stop.run,
    "large_tensor": large_tensor.run,
    "restart": restart.run,
    "attached": attached.run,
    "armed": armed.run,
    "peers": peers.run,
    "programs": programs.run,
    "stops": stops.run,
    "time_travel": time_travel.run,
    "attention": attention.run,
    "lens": lens.run,
    "maps": maps.run,
}
RESULTS = Path(__file__).with_name("RESULTS.md")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What the debugger costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="show that they run; the numbers mean nothing")
    parser.add_argument("--write", action="store_true", help="add the table to RESULTS.md")
    parser.add_argument("--threads", type=int, help="of torch, here and in the engine; otherwise its own choice")
    parser.add_argument("--processor", action="store_true", help="time runs by the processor, where others use it too")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark '{unknown[0]}': there are {', '.join(BENCHMARKS)}")
    if options.threads:
        torch.set_num_threads(options.threads)
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.processor:
        os.environ[PROCESSOR] = "1"
    rows: list[Row] = []
    for name in options.names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += BENCHMARKS[name](options.quick)
    section = f"## {time.strftime('%Y-%m-%d')}\n\n{machine()}\n\n{table(rows)}\n"
    print(section)
    if options.write:
        _keep(section)
    return 0


def _keep(section: str) -> None:
    """Newest first, under the introduction."""
    introduction, heading, older = RESULTS.read_text(encoding="utf-8").partition("\n## ")
    RESULTS.write_text(f"{introduction}\n{section}{heading}{older}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
