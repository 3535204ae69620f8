"""Imports run one way only.

    0  protocol
    1  wire   modelmap ← conditions
    2  adapter   engine   language   terminal      each knows layers 0 and 1, none knows another
    3  __main__                                    imports one of layer 2, in the branch that was chosen

Inside engine: anatomy → execution → inspection → analysis → program → requests, each knows itself and what stands
before it. The modules directly in engine/ (the session, the process's entry) put these together: they may import all of
them, and only program/, requests/ and they themselves may import them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "dap_server"

LAYERS: dict[str, set[str]] = {
    "protocol": set(),
    "wire": {"protocol"},
    "modelmap": {"protocol.errors"},
    "conditions": {"protocol.errors", "modelmap"},
    "adapter": {"protocol", "wire", "modelmap", "conditions"},
    "engine": {"protocol", "wire", "modelmap", "conditions"},
    "language": {"protocol", "wire", "modelmap", "conditions"},
    "terminal": {"protocol", "wire", "modelmap", "conditions"},
}
"""Which of our packages a package may import, besides itself."""

THIRD_PARTY: dict[str, set[str]] = {
    "protocol": {"msgspec"},
    "wire": {"msgspec"},
    "modelmap": set(),
    "conditions": set(),
    "adapter": {"msgspec"},
    "engine": {"msgspec", "torch", "transformers", "numpy", "debugpy"},
    "language": {"msgspec", "pygls", "lsprotocol"},
    "terminal": {"msgspec", "rich", "prompt_toolkit"},
}

BEFORE_DEFERRED = {"conditions.deferred", "conditions.names"}
"""What of the conditions their deferred part may import."""

ENGINE_ORDER = ["anatomy", "execution", "inspection", "analysis", "program", "requests"]

TENSORS = "engine.inspection.tensors"

ENGINE_KNOWS_NO_DAP = {"protocol.errors", "protocol.launch", "wire.reply", "modelmap", "conditions", "engine"}
"""What of ours the engine may import below requests/: nothing of DAP's own messages."""

CLIENTS_OF_DEBUGPY = ("engine.program.debugpy_peer", "engine.program.python_debugger")
"""debugpy speaks DAP too: to it we are the client."""

WITHOUT_ASYNCIO = ["protocol", "wire", "modelmap", "conditions", "adapter", "engine"]

LOCAL_IMPORTS: dict[str, str] = {
    "__init__": "a program that imports us pays for nothing before an editor comes",
    "__main__": "imports only what the chosen command needs",
    "adapter.requests": "what our own requests carry is needed when the first is forwarded, after that answer",
    "adapter.session": "what a model needs, processes and breakpoints, comes after the answer to `initialize`",
    "engine.listening": "a program that nobody attaches to does not import torch for us",
    "engine.main": "connects first, so that loading is seen from its beginning and the adapter's end at any time",
    "engine.map_command": "what is wrong with the arguments is told before torch is imported, which takes seconds",
    "engine.anatomy.loading": "torch and transformers take seconds to import, which is reported as progress",
}
"""The modules that may import inside a function, and why."""


class Import(NamedTuple):
    """One imported module, as `importer:line imports target`; ours without the leading `dap_server.`."""

    importer: str
    target: str
    line: int
    is_ours: bool
    is_local: bool
    """Inside a function."""
    is_typing: bool
    """Under `if TYPE_CHECKING`."""

    def __str__(self) -> str:
        return f"{self.importer.replace('.', '/')}.py:{self.line} imports {self.target}"


def test_layers() -> None:
    wrong = [i for i in IMPORTS if i.is_ours and not _is_within(i.target, _allowed(_package(i)))]
    _expect_none(wrong, "a package may import only itself and the layers below it")


def test_third_party() -> None:
    theirs = [i for i in IMPORTS if not i.is_ours and _top(i.target) not in sys.stdlib_module_names]
    wrong = [i for i in theirs if _top(i.target) not in THIRD_PARTY.get(_package(i), set())]
    _expect_none(wrong, "torch belongs to engine, pygls to language, rich and prompt_toolkit to terminal")


def test_no_asyncio() -> None:
    wrong = [i for i in IMPORTS if _top(i.target) == "asyncio" and _package(i) in WITHOUT_ASYNCIO]
    _expect_none(wrong, "threads and queues, no event loop, outside language and terminal")


def test_conditions_are_read_by_those_who_know_what_can_be_deferred() -> None:
    inside = [i for i in IMPORTS if i.importer.startswith("conditions.deferred") and i.is_ours and not i.is_typing]
    wrong = [i for i in inside if not _is_within(i.target, BEFORE_DEFERRED)]
    _expect_none(wrong, "conditions/deferred knows names; the texts of conditions know it")


def test_order_inside_the_engine() -> None:
    inside = [i for i in IMPORTS if _package(i) == "engine" and i.is_ours and _top(i.target) == "engine"]
    _expect_none([i for i in inside if not _keeps_engine_order(i)], f"the engine's order: {' → '.join(ENGINE_ORDER)}")


def test_tensors_are_known_without_what_shows_them() -> None:
    inside = [i for i in IMPORTS if i.importer.startswith(f"{TENSORS}.") and i.is_ours]
    wrong = [i for i in inside if _is_within(i.target, {"engine.inspection"}) and not _is_within(i.target, {TENSORS})]
    _expect_none(wrong, "inspection/tensors knows elements; frames, scopes and rows know it")


def test_every_analysis_knows_only_those_before_it() -> None:
    parts = [(i, _analysis(i.importer), _analysis(i.target)) for i in IMPORTS if i.is_ours]
    graph: dict[str, set[str]] = {}
    for _, importer, target in parts:
        if importer and target and importer != target:
            graph.setdefault(importer, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("packages of analysis import each other: " + " ← ".join(error.args[1]), pytrace=False)


def test_engine_below_requests_knows_no_dap() -> None:
    below = [i for i in IMPORTS if i.is_ours and _engine_part(i.importer) in ENGINE_ORDER[:-1]]
    below = [i for i in below if i.importer not in CLIENTS_OF_DEBUGPY]
    wrong = [i for i in below if not _is_within(i.target, ENGINE_KNOWS_NO_DAP)]
    _expect_none(wrong, "below engine/requests no message of DAP is known, only errors and the launch configuration")


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for i in IMPORTS:
        if i.is_ours and not (i.is_local or i.is_typing):
            graph[i.importer].add(i.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("modules import each other: " + " ← ".join(error.args[1]), pytrace=False)


def test_imports_stand_at_the_top() -> None:
    wrong = [i for i in IMPORTS if i.is_local and i.importer not in LOCAL_IMPORTS]
    _expect_none(wrong, "an import inside a function needs a reason in LOCAL_IMPORTS")


def test_main_imports_only_the_chosen_branch() -> None:
    wrong = [
        i for i in IMPORTS if i.importer == "__main__" and i.is_ours and _top(i.target) in LAYERS and not i.is_local
    ]
    _expect_none(wrong, "__main__ imports a package inside the branch that needs it")


def test_every_package_has_its_rules() -> None:
    assert _folders(ROOT / PACKAGE) <= LAYERS.keys()
    assert _folders(ROOT / PACKAGE / "engine") <= set(ENGINE_ORDER)


def _expect_none(wrong: list[Import], rule: str) -> None:
    if wrong:
        pytest.fail("\n".join([rule, *(f"  {i}" for i in wrong)]), pytrace=False)


def _folders(path: Path) -> set[str]:
    return {folder.name for folder in path.iterdir() if any(folder.glob("*.py"))}


def _top(module: str) -> str:
    return module.partition(".")[0]


def _package(i: Import) -> str:
    return _top(i.importer)


def _allowed(package: str) -> set[str]:
    if package == "__init__":
        return {"engine.listening"}
    if package == "__main__":
        return {"__init__", *LAYERS}
    return {package, "__init__", *LAYERS.get(package, ())}


def _is_within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def _engine_part(module: str) -> str:
    """`anatomy` … `requests`; "" for the modules directly in engine/ and for all that is not in it."""
    parts = module.split(".")
    return parts[1] if parts[0] == "engine" and (len(parts) > 2 or parts[-1] in ENGINE_ORDER) else ""


def _analysis(module: str) -> str:
    """`attention` …, for the modules of a package inside of analysis."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["engine", "analysis"] and len(parts) > 3 else ""


def _keeps_engine_order(i: Import) -> bool:
    importer, target = _engine_part(i.importer), _engine_part(i.target)
    if not importer:
        return True
    if not target:
        return importer in ("program", "requests")
    return ENGINE_ORDER.index(target) <= ENGINE_ORDER.index(importer)


def _modules() -> dict[str, Path]:
    """Every module of the package; a package's `__init__` has the package's name."""
    names = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return names


def _imports(module: str, path: Path) -> Iterator[Import]:
    def walk(node: ast.AST, is_local: bool, is_typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for name in _targets(child):
                ours = name == PACKAGE or name.startswith(f"{PACKAGE}.")
                target = (name.removeprefix(PACKAGE).removeprefix(".") or "__init__") if ours else name
                yield Import(module, target, child.lineno, ours, is_local, is_typing)  # type: ignore[attr-defined]  # an import
            local = is_local or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = is_typing or (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"))
            yield from walk(child, local, typing)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), path), False, False)


def _targets(node: ast.AST) -> list[str]:
    """The modules that a statement imports: `from package import name` means `package.name` where that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        base = node.module or ""
        names = (f"{base}.{alias.name}" for alias in node.names)
        return sorted({name if name.removeprefix(f"{PACKAGE}.") in MODULES else base for name in names})
    return []


MODULES = _modules()
IMPORTS = [i for module, path in MODULES.items() for i in _imports(module, path)]
