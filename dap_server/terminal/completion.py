"""What Tab offers: commands, then what each of them takes, and the adapter's own proposals for Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from dap_server.conditions.completion import Completion as Proposal
from dap_server.conditions.completion import complete
from dap_server.conditions.errors import TextKind
from dap_server.conditions.filters import FILTERS
from dap_server.conditions.names import PLACES_OF, PlaceKind, place_of
from dap_server.modelmap.patterns import PatternError, parse_pattern
from dap_server.modelmap.places import Phase
from dap_server.protocol.errors import RequestError
from dap_server.terminal import filters, paths
from dap_server.terminal.breakpoints import VALUE, clauses
from dap_server.terminal.commands.moving import path_of
from dap_server.terminal.commands.table import COMMANDS
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

_KINDS: dict[str, TextKind] = {"if": "condition", "hits": "hit", "log": "log"}

PLACES = ("step", "sample", "logits", "after:", "before:", VALUE)
"""What a breakpoint can be on besides modules."""


class DebuggerCompleter(Completer):
    """Proposals never fail: without an answer there are none."""

    def __init__(self, debugger: Debugger) -> None:
        self._debugger = debugger
        self._of: dict[str, Callable[[str], Iterable[str]]] = {
            "vars": self._variables,
            "step": self._targets,
            "break": self._places,  # what follows the name is in _conditions
            "delete": lambda _: [breakpoint.name for breakpoint in debugger.breakpoints],
            "help": lambda _: (command.name for command in COMMANDS.values()),
        }

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        try:
            yield from list(self._proposals(document.text_before_cursor))
        except (RequestError, CommandError, TimeoutError):
            return

    def _proposals(self, text: str) -> Iterator[Completion]:
        word, space, argument = text.lstrip().partition(" ")
        if not space:
            yield from _starting(word, dict.fromkeys(command.name for command in COMMANDS.values()))
            yield from self._python(word)
            return
        command = COMMANDS.get(word)
        if command is not None and command.name == "break" and _said(argument):
            yield from _conditions(argument)
        elif command is not None and command.name == "catch":
            names, condition = filters.clauses(argument.lstrip())
            yield from self._filters(names) if condition is None else _threshold(names.strip(), condition)
        elif command is not None and command.name in self._of:
            argument = argument.lstrip()
            yield from _starting(argument, dict.fromkeys(self._of[command.name](argument)))
        elif command is None or command.name == "print":
            yield from self._python(argument if command else text)

    def _python(self, text: str) -> Iterator[Completion]:
        debugger = self._debugger
        if not debugger.client.capabilities.supports_completions_request or not text:
            return
        items = debugger.client.completions(text, frame_id=debugger.frame.id)
        for item in sorted(items, key=lambda item: item.label.startswith("_")):  # what is private comes last
            replaced = _partial(text) if item.length is None else text[len(text) - item.length :]
            yield Completion(
                item.text or item.label, -len(replaced), display=item.label, display_meta=item.detail or ""
            )

    def _variables(self, path: str) -> Iterator[str]:
        debugger = self._debugger
        scopes = debugger.client.scopes(debugger.frame.id)
        parent, dot, _ = path.rpartition(".")
        if not dot:
            yield from (scope.name for scope in scopes)
            return
        node = paths.find(parent, scopes, debugger.client.variables)
        children = debugger.client.variables(node.reference, filter="named") if node.reference else []
        yield from (f"{parent}.{child.name}" for child in children)

    def _targets(self, _name: str) -> Iterator[str]:
        targets = self._debugger.client.step_in_targets(self._debugger.frame.id)
        yield from (path_of(target).rpartition(".")[2] for target in targets)

    def _places(self, _name: str) -> Iterator[str]:
        """Modules that are on the stack, and those below the current one."""
        debugger = self._debugger
        running = [frame.name.partition(" ")[0] for frame in debugger.frames if "." in frame.name.partition(" ")[0]]
        targets = debugger.client.step_in_targets(debugger.frame.id) if debugger.selected == 0 else []
        yield from (*running, *map(path_of, targets), *PLACES)

    def _filters(self, typed: str) -> Iterator[Completion]:
        """The filters, those that are on behind `off`; then what may follow them."""
        known, on = self._debugger.filters.known, self._debugger.filters.on
        word = re.split(r"[\s,]", typed)[-1]
        before = re.findall(r"[^\s,]+", typed.removesuffix(word))
        is_off = before[:1] == [filters.OFF]
        for each in known:
            is_offered = each.filter not in before and (not is_off or each.filter in on)
            if is_offered and each.filter.lower().startswith(word.lower()):
                yield Completion(each.filter, -len(word), display_meta=each.description or "")
        words = () if is_off else ("if", filters.OFF) if before else (filters.OFF, filters.ALL)
        yield from _starting(word, words)


def _said(argument: str) -> str:
    """The word whose text is typed: `if`, `hits`, `log`; empty while it is the name."""
    return list(clauses(argument))[-1][0]


def _conditions(argument: str) -> Iterator[Completion]:
    """What a condition or a log message may say at the end of what is typed."""
    (_, _, end), *_, (word, start, _) = clauses(argument)
    text = argument[start:]
    place, phase = _place(argument[:end])
    yield from _named(complete(text, len(text) + 1, place, phase, _KINDS[word]), text)


def _threshold(filter: str, text: str) -> Iterator[Completion]:
    """What the condition of a filter may say at the end of what is typed."""
    if filter in FILTERS:
        place = FILTERS[filter].id
        yield from _named(complete(text, len(text) + 1, place, PLACES_OF[place][1]), text)


def _named(proposals: Iterable[Proposal], text: str) -> Iterator[Completion]:
    for found in proposals:
        yield Completion(found.label, found.column - 1 - len(text), display_meta=found.documentation)


def _place(name: str) -> tuple[PlaceKind | None, Phase | None]:
    """What a breakpoint of this name stands on, and the phase that it asks for."""
    if name.lstrip().startswith(VALUE):
        return "data", None
    try:
        pattern = parse_pattern(name)
    except PatternError:  # a line of a map
        return None, None
    return place_of(pattern), pattern.phase


def _starting(text: str, names: Iterable[str]) -> Iterator[Completion]:
    return (Completion(name, -len(text)) for name in names if name.startswith(text))


def _partial(text: str) -> str:
    """The name at the end of a text."""
    i = len(text)
    while i and (text[i - 1].isalnum() or text[i - 1] == "_"):
        i -= 1
    return text[i:]
