"""`llm-dap run MODEL --prompt TEXT`: a debugging session in the terminal."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from dap_server.protocol.errors import RequestError
from dap_server.protocol.launch import Dtype
from dap_server.terminal import script
from dap_server.terminal.client import Client
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError, SessionEnded
from dap_server.terminal.loop import Loop
from dap_server.terminal.screen import Screen

INTRODUCTION = "Type help for the commands; next, step, out and continue move on; Tab completes; Ctrl+D ends."


def run(argv: list[str]) -> int:
    """The command line. Gives the exit status: 1 if the session could not begin or a command of a script failed."""
    args = _parser().parse_args(argv)
    lines = lines_of(args.script)
    return debug(launch_options(args), args.breakpoints, lines, runs_to_end=args.script is None, filters=args.filters)


def lines_of(script: str | None) -> Iterable[str] | None:
    """The commands of a script, `-` for standard input; None for a person at a terminal. Ends without such a file."""
    if script and script != "-":
        try:
            with open(script, encoding="utf-8") as file:
                return file.read().splitlines()
        except OSError as error:
            sys.exit(f"llm-dap: cannot read {script}: {error.strerror}")
    return _lines_of_stdin() if script == "-" or not sys.stdin.isatty() else None


def debug(
    options: dict[str, Any],
    breakpoints: Sequence[str],
    lines: Iterable[str] | None = None,
    runs_to_end: bool = False,
    introduction: str = INTRODUCTION,
    filters: Sequence[str] = (),
) -> int:
    """One session.

    Args:
        options: fields of `LaunchArguments`, or of `AttachArguments`.
        filters: of anomalies, as `catch` takes them.
        lines: commands to play; None for a person at a terminal.
        runs_to_end: after the last line, instead of ending the session where it stands.
    """
    screen = Screen()
    with Client.spawn() as client:
        debugger = Debugger(client, screen)
        try:
            debugger.start(breakpoints, options, filters)
            if lines is None:
                return _interact(debugger, introduction)
            is_good = script.play(debugger, lines)
            if runs_to_end:
                script.run_to_end(debugger)
        except (RequestError, CommandError, SessionEnded, TimeoutError) as error:
            screen.progress(None)
            debugger.show_pending()
            screen.error(str(error))
            return 1
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:  # nobody reads on: `llm-dap demo | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 0 if is_good and not client.exit_code else 1


def launch_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `LaunchArguments` that a command line gives."""
    generation = dict(args.options)
    if args.max_new_tokens is not None:
        generation["max_new_tokens"] = args.max_new_tokens
    options: dict[str, Any] = {
        "model": args.model,
        "prompt": args.prompts[0] if len(args.prompts) == 1 else None,
        "prompts": args.prompts if len(args.prompts) > 1 else None,
        "messages": args.messages or None,
        "generation": generation or None,
        "seed": args.seed,
        "dtype": args.dtype,
        "device": args.device,
        "attn_implementation": args.attn,
        "stop_on_entry": args.stop_on_entry or None,
        "stop_at_end": False if args.no_stop_at_end else None,
        "trust_remote_code": args.trust_remote_code or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _interact(debugger: Debugger, introduction: str) -> int:
    if not debugger.is_over:
        debugger.screen.show(introduction)
        Loop(debugger).run()
    return 0


def _lines_of_stdin() -> Iterable[str]:
    return iter(sys.stdin.readline, "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llm-dap run", description="Debug a language model in the terminal.")
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a model, or its id on the Hugging Face hub")
    add("--prompt", dest="prompts", metavar="TEXT", action="append", default=[], help="again for a batch")
    add("--message", dest="messages", metavar="[ROLE:]TEXT", action="append", default=[], type=_message,
        help="a turn of a chat, by the user unless a role is given; again for more")  # fmt: skip
    add("--break", "-b", dest="breakpoints", metavar="NAME", action="append", default=[],
        help="stop at a module path, glob, class, 'step' or 'sample'; again for more")  # fmt: skip
    add("--max-new-tokens", metavar="N", type=int)
    add("--option", "-o", dest="options", metavar="NAME=VALUE", action="append", default=[], type=_option,
        help="any option of transformers' GenerationConfig, with a JSON value: do_sample=true")  # fmt: skip
    add("--seed", type=int, metavar="N", help="of all random number generators")
    add("--dtype", choices=get_args(Dtype))
    add("--device", help="such as cpu or cuda:1")
    add("--attn", metavar="NAME", help="attention implementation: eager, sdpa …")
    add("--stop-on-entry", action="store_true", help="stop before the first forward pass")
    add("--no-stop-at-end", action="store_true", help="do not stop once more after the last token")
    add("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    add_session_options(parser)
    return parser


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """What every session in the terminal can be told, whatever it debugs."""
    add = parser.add_argument
    add("--catch", dest="filters", metavar="FILTER", action="append", default=[],
        help="stop at anomalies besides NaN and Python exceptions: repetition, 'residual if growth > 10', all; "
        "'off nonFinite' is for fewer; again for more")  # fmt: skip
    add("--script", metavar="FILE", help="play commands from a file, one a line; - is the standard input")


def _message(text: str) -> dict[str, str]:
    role, colon, content = text.partition(":")
    if colon and role in ("system", "user", "assistant", "tool"):
        return {"role": role, "content": content.strip()}
    return {"role": "user", "content": text}


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
