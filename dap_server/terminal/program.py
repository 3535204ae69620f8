"""`llm-dap debug FILE …`: a debugging session in the terminal, of a program and the models that it calls."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dap_server.terminal.main import add_session_options, debug, lines_of


def run(argv: list[str]) -> int:
    """The command line. Gives the exit status, as `llm-dap run` does."""
    args = _parser().parse_args(argv)
    if not args.module and not args.program:
        print("llm-dap debug: name a Python file, or a module behind -m", file=sys.stderr)
        return 2
    lines = lines_of(args.script)
    return debug(launch_options(args), args.breakpoints, lines, runs_to_end=args.script is None, filters=args.filters)


def launch_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `LaunchArguments` that a command line gives."""
    subject, *arguments = args.module or args.program
    options: dict[str, Any] = {
        "module" if args.module else "program": subject,
        "args": arguments or None,
        "map": args.map,
        "stop_on_entry": args.stop_on_entry or not args.breakpoints or None,
        "python_debugger": False if args.no_python_debugger else None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-dap debug",
        usage="llm-dap debug [--break NAME] … (FILE | -m MODULE) [ARGUMENT …]",
        description="Run a Python program unchanged, and debug the models that it calls and its lines. "
        "Without a breakpoint it stops before its first line.",
    )
    add = parser.add_argument
    add("--break", "-b", dest="breakpoints", metavar="NAME", action="append", default=[],
        help="stop at a module, 'step' or 'sample', as for run, or at FILE:LINE; again for more")  # fmt: skip
    add("--map", metavar="FILE", help="model map that the stack points into")
    add("--stop-on-entry", action="store_true", help="stop before the first line")
    add("--no-python-debugger", action="store_true", help="without debugpy: no lines of Python, models alone")
    add_session_options(parser)
    add("-m", dest="module", metavar="MODULE", nargs=argparse.REMAINDER, help="run a module")
    add("program", metavar="FILE", nargs=argparse.REMAINDER, help="run a file")
    return parser
