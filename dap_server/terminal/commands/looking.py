"""Looking at what is stopped."""

from __future__ import annotations

from rich.tree import Tree

from dap_server.protocol.errors import RequestError
from dap_server.protocol.types import Scope
from dap_server.terminal import anomalies, paths, render, source_view, tokens
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError
from dap_server.terminal.paths import Node, PathError

ROWS_AT_ONCE = 12
"""A scope with more is not opened unasked."""
TEXT_TOKENS = 200
TABLE_TOKENS = 30


@command("stack", "bt", usage="[all]", help="the modules that are running, and below them what has happened")
def stack(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    if argument == "all":
        debugger.fetch_frames(0)
    debugger.screen.show(render.stack(debugger.frames, debugger.selected, debugger.has_more_frames))


@command("frame", "f", usage="[NUMBER]", help="look at another frame of the stack")
def frame(debugger: Debugger, argument: str) -> None:
    if argument:
        debugger.require_stop()
        if not argument.isdigit():
            raise CommandError(f"'{argument}' is no frame: give a number of the stack")
        debugger.select(int(argument))
    debugger.screen.show(render.frame_line(debugger.frame, debugger.selected))


@command("up", help="look at the frame below in the list, which called this one", repeats=True)
def up(debugger: Debugger, _argument: str) -> None:
    _move(debugger, 1)


@command("down", help="look at the frame above in the list, which this one called", repeats=True)
def down(debugger: Debugger, _argument: str) -> None:
    _move(debugger, -1)


@command("vars", "v", usage="[NAME]", help="scopes, or one variable: v Output, v Inputs.hidden_states[0], v Sampling")
def vars_(debugger: Debugger, argument: str) -> None:
    scopes = debugger.client.scopes(debugger.frame.id)
    fetch = debugger.client.variables
    if not argument:
        trees = [_scope(scope, debugger) for scope in scopes]
        debugger.screen.show(render.together(trees) if trees else render.note("nothing to see in this frame"))
        return
    node = find(debugger, argument, scopes)
    opened = paths.open_node(node, fetch)
    debugger.screen.show(render.rows(render.heading(node.path, node.value), opened.variables, opened.more))


@command("locals", "l", help="the local names of the Python function of this frame")
def locals_(debugger: Debugger, _argument: str) -> None:
    found = [scope for scope in debugger.client.scopes(debugger.frame.id) if scope.name == "Locals"]
    if not found:
        raise CommandError("this frame is no Python function: 'down' and 'up' lead to others, 'v' shows what it has")
    opened = paths.open_node(paths.of_scope(found[0]), debugger.client.variables)
    if opened.variables:
        debugger.screen.show(render.rows(found[0].name, opened.variables, opened.more))
    else:
        debugger.screen.show(render.note("it has no local names"))


@command("print", "p", usage="EXPRESSION", help="the value of a Python expression in this frame")
def print_(debugger: Debugger, argument: str) -> None:
    if not argument:
        raise CommandError("an expression is missing: print inputs['hidden_states'].norm()")
    debugger.evaluate(argument)


@command("where", "w", help="where in the text the model is, and at which line of Python")
def where(debugger: Debugger, _argument: str) -> None:
    debugger.require_stop()
    below = debugger.frames[debugger.selected :]
    here = ", ".join(filter(None, [render.place(below), render.step_of(below)]))
    lines = source_view.excerpt(below[0]) if source_view.is_python(below[0]) else None
    if lines is not None:
        debugger.screen.show(render.together([render.frame_line(below[0], debugger.selected), lines]))
    if lines is None or render.step_of(below) is not None:
        rows, hidden = _tokens(debugger, TEXT_TOKENS)
        debugger.screen.show(tokens.text_view(rows, here, hidden))
    if debugger.caught is not None:
        debugger.screen.show(render.together([anomalies.line(debugger.client.exception_info())]))


@command("tokens", "t", help="the tokens so far, with their ids and probabilities")
def tokens_(debugger: Debugger, _argument: str) -> None:
    rows, hidden = _tokens(debugger, TABLE_TOKENS)
    debugger.screen.show(tokens.table_view(rows, hidden))


@command("threads", "sequences", help="the sequences of the batch")
def threads(debugger: Debugger, _argument: str) -> None:
    debugger.screen.show(render.threads(debugger.client.threads(), debugger.client.thread_id))


@command("thread", "sequence", usage="NUMBER", help="look at another sequence of the batch")
def thread(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    known = [thread.id for thread in debugger.client.threads()]
    if not argument.isdigit() or int(argument) not in known:
        raise CommandError(f"no sequence '{argument}': there are {', '.join(map(str, known))}")
    debugger.client.thread_id = int(argument)
    debugger.selected = 0
    debugger.fetch_frames()
    where(debugger, "")


def _move(debugger: Debugger, by: int) -> None:
    debugger.require_stop()
    index = debugger.selected + by
    if 0 <= index < len(debugger.frames) and debugger.frames[index].presentation_hint == "label":
        index += by
    if index < 0:
        raise CommandError("this is the innermost frame")
    debugger.select(index)
    frame(debugger, "")


def _scope(scope: Scope, debugger: Debugger) -> Tree:
    node = paths.of_scope(scope)
    if scope.expensive or max(node.indexed, node.named or 0) > ROWS_AT_ONCE:
        return render.closed_scope(scope)
    opened = paths.open_node(node, debugger.client.variables)
    return render.rows(scope.name, opened.variables, opened.more)


def find(debugger: Debugger, path: str, scopes: list[Scope]) -> Node:
    """A variable by its path; what is none may be an expression, such as a module's path."""
    try:
        return paths.find(path, scopes, debugger.client.variables)
    except PathError:
        try:
            body = debugger.client.evaluate(path, debugger.frame.id, "watch")
        except RequestError:
            pass  # the first error says more
        else:
            found = Node(path, body.result, body.variables_reference, body.named_variables, body.indexed_variables or 0)
            return found._replace(memory=body.memory_reference)
        raise


def _tokens(debugger: Debugger, count: int) -> tuple[list[tokens.Token], int]:
    """The last tokens of the frame that is looked at, and how many come before them."""
    for candidate in debugger.frames[debugger.selected :]:
        for scope in debugger.client.scopes(candidate.id):
            if scope.name == "Tokens":
                total = scope.indexed_variables or 0
                start = max(total - count, 0)
                page = {"filter": "indexed", "start": start, "count": count} if total else {}
                rows = debugger.client.variables(scope.variables_reference, **page)  # type: ignore[arg-type]
                return [tokens.parse(row) for row in rows], start
    raise CommandError("no text is known in this frame")
