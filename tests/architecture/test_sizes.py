"""Files and functions stay small: the longest are reported, and only what is far too long fails."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Report

ROOT = Path(__file__).parents[2]
SHOWN = 5


class Limit(NamedTuple):
    """In lines. Above `aim` it is noted in the report, above `stop` the test fails."""

    aim: int
    stop: int


class Size(NamedTuple):
    lines: int
    name: str


FILE = Limit(aim=400, stop=500)
FUNCTION = Limit(aim=60, stop=75)


def test_files(report: Report) -> None:
    _check("files", [Size(len(_text(path).splitlines()), _name(path)) for path in _files()], FILE, report)


def test_functions(report: Report) -> None:
    _check("functions", [size for path in _files() for size in _functions(path)], FUNCTION, report)


def _check(what: str, sizes: list[Size], limit: Limit, report: Report) -> None:
    longest = sorted(sizes, reverse=True)
    noted = [size for size in longest if size.lines > limit.aim]
    shown = longest[: max(SHOWN, len(noted))]
    notes = (f"  above {limit.aim}" if size in noted else "" for size in shown)
    report(
        f"longest {what} of {len(sizes)}",
        [f"{size.lines:5}  {size.name}{note}" for size, note in zip(shown, notes, strict=True)],
    )
    too_long = [size for size in longest if size.lines > limit.stop]
    if too_long:
        lines = "\n".join(f"  {size.lines} lines: {size.name}" for size in too_long)
        pytest.fail(f"{what} of more than {limit.stop} lines, to be divided:\n{lines}", pytrace=False)


def _functions(path: Path) -> Iterator[Size]:
    """From the `def` to the last line, docstring included; a function inside another counts in both."""
    for node in ast.walk(ast.parse(_text(path), path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Size(node.end_lineno - node.lineno + 1, f"{_name(path)}:{node.lineno} {node.name}")


def _files() -> list[Path]:
    return sorted((ROOT / "dap_server").rglob("*.py"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
