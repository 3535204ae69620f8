"""The command `llm-dap map`: writes the map of a model, and makes it anew when the model has changed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from dap_server.engine.importing import without_collecting
from dap_server.modelmap.text import MapText, ModelMap, moves, read_map, update, write_map
from dap_server.protocol.errors import RequestError

NAMED = 5
"""How many places are named when a map has changed."""


class MapError(ValueError):
    """The map cannot be written; the text says what to do."""


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 with one line on stderr for whatever cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        if options.update is not None:
            _update(options)
        elif options.model is None:
            raise MapError("name a model: its folder, or its id on the hub")
        else:
            _make(options)
    except (MapError, RequestError) as error:
        sys.stderr.write(f"llm-dap map: {error}\n")
        return 1
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.stderr.write(f"llm-dap map: {error.filename}: {error.strerror}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-dap map",
        description="Writes the map of a model: every module on a line, in the order in which a step comes to it. "
        "Nothing of the model is read but its configuration.",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="folder of the model, or its id on the hub")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="file to write (standard output)")
    parser.add_argument("--force", action="store_true", help="write over an existing FILE, and over comments in it")
    parser.add_argument(
        "--update", metavar="FILE", type=Path,
        help="make this map anew and keep the comments in it; the model is the one it names, unless MODEL is given",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="with --update: say on standard output where lines went")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    return parser


def _make(options: argparse.Namespace) -> None:
    path: Path | None = options.output
    if path is not None and not path.parent.is_dir():
        raise MapError(f"the folder '{path.parent}' does not exist")
    text = write_map(_map(options, options.model)).encode()
    if path is None:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    elif path.exists() and not options.force and path.read_bytes() != text:
        raise MapError(f"'{path}' exists and is different: --update {path} keeps its comments, --force overwrites it")
    else:
        path.write_bytes(text)


def _update(options: argparse.Namespace) -> None:
    path: Path = options.update
    if not path.is_file():
        raise MapError(f"'{path}' is no file: write a new map with -o {path}")
    before = _text_of(path)
    old = read_map(before)
    name = options.model or old.model
    if not name:
        raise MapError(f"'{path}' does not say which model it is of: name it, llm-dap map MODEL --update {path}")
    after = update(before, _map(options, name))
    if after != before:
        path.write_bytes(after.encode())
    _tell(path, old, read_map(after), is_changed=after != before, as_json=options.json)


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise MapError(f"'{path}' is no map: it is not written in UTF-8") from error


def _map(options: argparse.Namespace, name: str) -> ModelMap:
    with without_collecting():
        from dap_server.engine.anatomy.mapping import map_model

    return map_model(name, options.revision, options.trust_remote_code)


def _tell(path: Path, old: MapText, new: MapText, is_changed: bool, as_json: bool) -> None:
    moved = moves(old, new)
    added = [line.place_name for line in new.lines.values() if old.line_of(line.path) is None]
    removed = [line.place_name for line in old.lines.values() if new.line_of(line.path) is None]
    if as_json:
        sys.stdout.write(json.dumps({"added": added, "removed": removed, "moves": moved}) + "\n")
        sys.stdout.flush()
    elsewhere = sum(1 for line, number in moved.items() if line != number)
    parts = [_named("added", added), _named("removed", removed), _counted(elsewhere)]
    said = ", ".join(part for part in parts if part) or ("only what is said of places" if is_changed else "nothing")
    sys.stderr.write(f"{path}: {said}{'' if any(parts) else ' has changed'}\n")


def _named(what: str, places: list[str]) -> str:
    if not places:
        return ""
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"{len(places)} {what} ({', '.join(places[:NAMED])}{more})"


def _counted(lines: int) -> str:
    return f"{lines} line{'s' if lines > 1 else ''} moved" if lines else ""
