"""`llm-dap attach [HOST:]PORT`: a debugging session in the terminal, in a program that runs already."""

from __future__ import annotations

import argparse
from typing import Any

from dap_server.terminal.main import add_session_options, debug, lines_of

INTRODUCTION = "Type help for the commands; Ctrl+C stops the program; Ctrl+D leaves, and it goes on."


def attach(argv: list[str]) -> int:
    """The command line. Gives the exit status, as `llm-dap run` does."""
    args = _parser().parse_args(argv)
    options: dict[str, Any] = {"connect": args.address, "map": args.map}
    return debug(
        {name: value for name, value in options.items() if value is not None},
        args.breakpoints,
        lines_of(args.script),
        introduction=INTRODUCTION,
        filters=args.filters,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-dap attach",
        description="Debug the models of a program that runs: it has called dap_server.listen, or was started by "
        "'llm-dap listen'. The token of your own programs on this machine is found; else it is what the environment "
        "variable LLM_DAP_TOKEN says.",
    )
    add = parser.add_argument
    add("address", metavar="[HOST:]PORT", type=_address, help="where it listens")
    add("--break", "-b", dest="breakpoints", metavar="NAME", action="append", default=[],
        help="stop at a module, 'step' or 'sample', again for more. Without any it stops at once")  # fmt: skip
    add("--map", metavar="FILE", help="model map that the stack points into")
    add_session_options(parser)
    return parser


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not [HOST:]PORT")
    return {"host": host.strip("[]") or "127.0.0.1", "port": int(port)}
