"""`llm-dap listen script.py`: runs a program unchanged, and lets editors attach to it."""

from __future__ import annotations

import argparse
import sys

from dap_server.engine import listening
from dap_server.engine.program import surroundings
from dap_server.engine.program.running import run_program
from dap_server.engine.program.script import ProgramError, Script
from dap_server.protocol.launch import LaunchArguments

DESCRIPTION = """\
Runs a Python program unchanged, and lets editors attach to it: 'llm-dap attach PORT' in a terminal, or an attach
configuration in VS Code. Who has the token can run code in the program. It is printed, and kept where only you can read
it; with the environment variable LLM_DAP_TOKEN it is what that says."""


def main(arguments: list[str]) -> int:
    """The command line. Returns only if the program cannot be run; else the process ends as the program does."""
    script = _prepared(arguments)
    if not isinstance(script, Script):
        return script
    surroundings.restore()
    return run_program(script, ends=listening.ends, say=_say)


def _prepared(arguments: list[str]) -> Script | int:
    """The program, once editors can attach to it; the exit status if it cannot be run."""
    options = _parser().parse_args(arguments)
    program, *rest = options.module or options.program or [None]
    if program is None:
        sys.stderr.write("llm-dap listen: name a Python file, or a module behind -m\n")
        return 2
    launch = LaunchArguments(args=rest)
    if options.module:
        launch.module = program
    else:
        launch.program = program
    try:
        script = Script(launch)
        listening.listen((options.host, options.port), None)
    except (ProgramError, OSError) as error:
        sys.stderr.write(f"llm-dap listen: {error}\n")
        return 1
    if options.wait:
        try:
            listening.wait_for_client()
        except KeyboardInterrupt:
            return 130
    return script


def _say(text: str) -> None:
    sys.stderr.write(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-dap listen",
        usage="llm-dap listen [--port N] [--wait] (FILE | -m MODULE) [ARGUMENT …]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=5678, help="port to listen on (5678); 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)")
    parser.add_argument("--wait", action="store_true", help="run nothing before an editor is there")
    parser.add_argument("-m", dest="module", metavar="MODULE", nargs=argparse.REMAINDER, help="run a module")
    parser.add_argument("program", metavar="FILE", nargs=argparse.REMAINDER, help="run a file")
    return parser
