"""Making a map anew while a person's comments stay beside their lines."""

from __future__ import annotations

import re

from dap_server.modelmap.model_map import MapText, ModelMap
from dap_server.modelmap.reading import read_map, text_lines
from dap_server.modelmap.writing import CLASSES, HEADING, INTRODUCTION, TITLE, write_map, written_path

_GENERATED = re.compile(rf"{TITLE} \d+|#|{HEADING[0]}\s{{2,}}{HEADING[1]}\s{{2,}}.*")
_GONE = "# was beside {}: {}"


def update(old_text: str, new: ModelMap) -> str:
    """The text of the new map with every comment of the old one.

    Comments behind a line and on lines above it stay with its path. What a place was that is gone is said beside its
    comments, at the end. A line that cannot be read becomes a comment. Line ends stay as they were.
    """
    old = read_map(old_text)
    behind = {old.lines[n].path: text for n, text in old.comments.items() if n in old.lines and _counts(old, n)}
    above, rest = _standing_alone(old, text_lines(old_text))
    lines = text_lines(write_map(new))[:-1]
    places = read_map("\n".join(lines)).lines
    result: list[str] = []
    for number, line in enumerate(lines, 1):
        if line == CLASSES:
            _put_before_blank(result, _left_over(above, behind) + rest)
        path = places[number].path if number in places else None
        result += above.pop(path, []) if path is not None else []
        result.append(f"{line}  {behind.pop(path)}" if path is not None and path in behind else line)
    if CLASSES not in lines:
        result += _left_over(above, behind) + rest
    end = "\r\n" if "\r\n" in old_text else "\n"
    return end.join(result) + end


def _counts(old: MapText, number: int) -> bool:
    return old.line_of(old.lines[number].path) == number


def _standing_alone(old: MapText, lines: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The person's own lines above each place, by its path, and those below the last."""
    above: dict[str, list[str]] = {}
    waiting: list[str] = []
    generated = _generated(old, lines)
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        if number in old.lines and _counts(old, number):
            if waiting:
                above[old.lines[number].path] = waiting
                waiting = []
        elif text and number not in generated:
            waiting.append(line.rstrip() if text.startswith("#") else f"# {text}")
    return above, waiting


def _generated(old: MapText, lines: list[str]) -> set[int]:
    """The numbers of the comments that are no person's."""
    numbers = {line for line, _ in old.header.values()}
    first = min(old.lines, default=len(lines) + 1)
    table = next((number for number, line in enumerate(lines, 1) if line.strip() == CLASSES), len(lines) + 1)
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        if text in INTRODUCTION or text == CLASSES or (number < first and _GENERATED.fullmatch(text)):
            numbers.add(number)
        name, _, module = text.removeprefix("# ").partition(": ")
        if number > table and old.classes.get(name) == module:
            numbers.add(number)
    return numbers


def _left_over(above: dict[str, list[str]], behind: dict[str, str]) -> list[str]:
    """What belonged to places that are gone."""
    texts = [(path, text.strip()) for path, lines in above.items() for text in lines] + list(behind.items())
    return [_GONE.format(written_path(path), text.lstrip("# ")) for path, text in texts]


def _put_before_blank(lines: list[str], more: list[str]) -> None:
    """Before the blank line that ends the places."""
    lines[-1:] = [*more, *lines[-1:]]
