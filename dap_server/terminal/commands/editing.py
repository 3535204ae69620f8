"""Changing the run: the list of edits, and the branches that they have made."""

from __future__ import annotations

from pathlib import Path

from dap_server.terminal import branching
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError


@command("edits", usage="[save FILE|load FILE]", help="what is changed in this branch; save it as JSON, load it again")
def edits(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    word, _, file = argument.partition(" ")
    match word:
        case "":
            debugger.screen.show(branching.edits_view(debugger.client.edits()))
        case "save" if file.strip():
            saved = debugger.client.save_edits(_absolute(file))
            debugger.screen.show(f"{saved.edits} edits in {saved.file}")
        case "load" if file.strip():
            debugger.change(lambda: debugger.client.load_edits(_absolute(file)))
        case _:
            raise CommandError("write edits, edits save FILE or edits load FILE")


@command("undo", usage="[NUMBER|all]", help="take back the last edit, one by its number, or all of them")
def undo(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    if argument == "all":
        debugger.change(lambda: debugger.client.undo_edit(everything=True))
    else:
        number = _number(argument) if argument else None
        debugger.change(lambda: debugger.client.undo_edit(number))


@command("enable", usage="NUMBER", help="switch an edit on again")
def enable(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    number = _number(argument)
    debugger.change(lambda: debugger.client.switch_edit(number, True))


@command("disable", usage="NUMBER", help="switch an edit off, and keep it on the list")
def disable(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    number = _number(argument)
    debugger.change(lambda: debugger.client.switch_edit(number, False))


@command("branches", usage="[delete NUMBER|name NUMBER NAME]", help="the ways that the run has gone, as a tree")
def branches(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    match argument.split(maxsplit=2):
        case []:
            told = debugger.client.branches()
        case ["delete", number]:
            gone = _number(number)
            debugger.change(lambda: debugger.client.delete_branch(gone))
            told = debugger.client.branches()
        case ["name", number, name]:
            told = debugger.client.name_branch(_number(number), name)
        case _:
            raise CommandError("write branches, branches delete NUMBER or branches name NUMBER NAME")
    debugger.screen.show(branching.tree(told))


@command("switch", usage="NUMBER", help="go on in another branch, where it was left")
def switch(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    number = _number(argument)
    if any(branch.id == number and branch.is_present for branch in debugger.client.branches()):
        raise CommandError(f"the run is in branch {number} already")
    debugger.change(lambda: debugger.client.switch_branch(number))


def _number(text: str) -> int:
    if not text.isdigit():
        raise CommandError(f"'{text}' is no number of the list" if text else "a number of the list is missing")
    return int(text)


def _absolute(file: str) -> str:
    return str(Path(file.strip()).expanduser().absolute())
