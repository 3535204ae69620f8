"""Where Python classes and their methods are written, found by reading files: nothing is imported, nothing runs."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

MOST_BASES = 40
"""How many classes and re-exports are followed before giving up: a circle of imports ends here too."""


REMOTE_CODE = "transformers_modules"
"""The package as which transformers imports code that came with a model."""


class Definition(NamedTuple):
    """A name in a file, at the class or the method that it names. Lines and columns from 0, the end exclusive."""

    file: Path
    line: int
    column: int
    end_column: int
    last_line: int


class _Module(NamedTuple):
    """What a file says of names: the classes in it, names from other modules, modules that all names are taken of."""

    classes: dict[str, ast.ClassDef]
    imports: dict[str, tuple[str, str]]
    stars: list[str]
    lines: list[str]


class _Found(NamedTuple):
    file: Path
    module: str
    node: ast.ClassDef


def find_class(module: str, name: str, folder: Path | None = None) -> Definition | None:
    """Where the class is written. Code that came with a model is looked for in the model's folder."""
    found = _find(module, name, folder)
    return _definition(found.file, found.node) if found else None


def find_method(module: str, class_name: str, method: str, folder: Path | None = None) -> Definition | None:
    """The method as an instance of the class has it: its own or inherited, as far as reading shows."""
    wanted = [(module, class_name)]
    for _ in range(MOST_BASES):
        if not wanted:
            return None
        found = _find(*wanted.pop(0), folder)
        if found is None:
            continue
        for node in _statements(found.node.body):
            if isinstance(node, ast.FunctionDef) and node.name == method:
                return _definition(found.file, node)
        wanted = [*_bases(found), *wanted]  # depth first; a diamond of classes is not told apart
    return None


def module_file(module: str, folder: Path | None = None) -> Path | None:
    """The file of a module, without importing it."""
    top, *rest = module.split(".")
    if top == REMOTE_CODE:
        file = folder / f"{rest[-1]}.py" if folder and rest else None
        return file if file and file.is_file() else None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for location in spec.submodule_search_locations or ():
        path = Path(location, *rest)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def _find(module: str, name: str, folder: Path | None) -> _Found | None:
    """Follows names that a module only passes on. `name` may be dotted, as in `nn.Module`."""
    wanted = [(module, name)]
    for _ in range(MOST_BASES):
        if not wanted:
            return None
        module, name = wanted.pop(0)
        file = module_file(module, folder)
        read = _read(file) if file else None
        if file is None or read is None:
            continue
        first, _, rest = name.partition(".")
        if not rest and first in read.classes:
            return _Found(file, module, read.classes[first])
        if first in read.imports:
            source, imported = read.imports[first]
            if rest:  # a name in a module: nn.Module
                wanted.append((f"{source}.{imported}" if imported else source, rest))
            else:
                wanted.append((source, imported))
        elif not rest:
            wanted += [(star, name) for star in read.stars]
    return None


def _bases(found: _Found) -> list[tuple[str, str]]:
    names = (ast.unparse(base.value if isinstance(base, ast.Subscript) else base) for base in found.node.bases)
    return [(found.module, name) for name in names if name not in ("object", "nn.Module", "torch.nn.Module")]


def _definition(file: Path, node: ast.ClassDef | ast.FunctionDef) -> Definition | None:
    read = _read(file)
    line = node.lineno - 1
    if read is None or line >= len(read.lines):
        return None
    column = max(read.lines[line].find(node.name), 0)
    return Definition(file, line, column, column + len(node.name), (node.end_lineno or node.lineno) - 1)


def _read(file: Path) -> _Module | None:
    try:
        return _parse(file, file.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=64)
def _parse(file: Path, _mtime_ns: int) -> _Module:
    source = file.read_text(encoding="utf-8")
    classes: dict[str, ast.ClassDef] = {}
    imports: dict[str, tuple[str, str]] = {}
    stars: list[str] = []
    for node in _statements(ast.parse(source).body):
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                imports[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0],
                    "",
                )
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(file, node)
            for alias in node.names:
                if alias.name == "*":
                    stars.append(module)
                else:
                    imports[alias.asname or alias.name] = (module, alias.name)
    return _Module(classes, imports, stars, source.split("\n"))


def _absolute(file: Path, node: ast.ImportFrom) -> str:
    """The module of a `from … import`, relative ones by the folders that are packages."""
    if not node.level:
        return node.module or ""
    folder = file.parent
    for _ in range(node.level - 1):
        folder = folder.parent
    parts: list[str] = []
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    parts = parts or [REMOTE_CODE]
    return ".".join([*parts, node.module] if node.module else parts)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Also those inside of `if` and `try`, which are how a file asks what is installed."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _statements([*node.body, *(s for handler in node.handlers for s in handler.body), *node.orelse])
