"""Reading a map: whatever a person has done to it, every line that is still a place is read."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from dap_server.modelmap.model_map import LISTS, UNUSED, VERSION, Kind, MapLine, MapText, Problem, Span
from dap_server.modelmap.places import PSEUDO_MODULES
from dap_server.modelmap.writing import CLASSES, HEADER, TITLE, read_flops

_COMMENT = re.compile(r"(?:^|(?<=\s))#")
_FIELD = re.compile(r"\S+(?: \S+)*")
_SHAPES = re.compile(r"(\(.*?\))\s?(?:→|->)\s?(\(.*\))")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})*|\d+")
_HEADER_LINE = re.compile(r"#\s*([\w-]+):\s*(\S.*?)\s*$")
_TITLE_LINE = re.compile(re.escape(TITLE) + r" (\d+)\s*$")
_PROCESSOR = re.compile(r"\w+(Processor|Warper)")


class _Field(NamedTuple):
    text: str
    span: Span


def text_lines(text: str) -> list[str]:
    """The lines as editors count them, whatever ends them."""
    return re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))


def read_map(text: str) -> MapText:
    """Reads a map; what cannot be read is among its problems."""
    return _Reader().read(text_lines(text))


class _Reader:
    def __init__(self) -> None:
        self.map = MapText()
        self._in_classes = False

    def read(self, lines: list[str]) -> MapText:
        self._title(lines[0])
        for number, line in enumerate(lines, 1):
            self.map.lengths.append(len(line))
            comment = _COMMENT.search(line)
            if comment is not None:
                self._comment(number, line, comment.start())
            if fields := _fields(line[: comment.start()] if comment else line):
                self._place(number, fields)
        return self.map

    def _title(self, line: str) -> None:
        match = _TITLE_LINE.match(line)
        if match is None:
            self._problem(
                1, Span(1, len(line) + 1), f"this is no model map: the first line should be '{TITLE} {VERSION}'"
            )
        elif int(match[1]) > VERSION:
            text = f"this map has form {match[1]}, of a newer llm-dap; this one reads form {VERSION}"
            self._problem(1, Span(match.start(1) + 1, match.end(1) + 1), text)

    def _comment(self, number: int, line: str, start: int) -> None:
        text = line[start:].rstrip()
        self.map.comments[number] = text
        if line[:start].strip():
            self.map.spans.setdefault(number, {})["comment"] = Span(start + 1, start + 1 + len(text))
        elif text == CLASSES:
            self._in_classes = True
        elif match := _HEADER_LINE.match(line, start):
            name, value = match[1], match[2]
            if self._in_classes:
                self.map.classes.setdefault(name, value)
            elif not self.map.lines and name in HEADER and HEADER[name] not in self.map.header:
                self._header(number, HEADER[name], value, Span(match.start(2) + 1, match.end(2) + 1))

    def _header(self, number: int, attribute: str, value: str, span: Span) -> None:
        self.map.header[attribute] = (number, span)
        if attribute != "parameters":
            setattr(self.map, attribute, value)
        elif _NUMBER.fullmatch(value):
            self.map.parameters = int(value.replace(",", ""))
        else:
            self._problem(number, span, f"'{value}' is no number of parameters")

    def _place(self, number: int, fields: list[_Field]) -> None:
        first, *rest = fields
        if " " in first.text:
            self._problem(number, Span(first.span.start, rest[-1].span.end if rest else first.span.end), (
                "this is no place: a line begins with a path, and two spaces stand between its fields; "
                "a comment begins with '#'"))  # fmt: skip
            return
        path = "" if first.text == "." else unquote(first.text)
        if path.startswith(".") or path.endswith(".") or ".." in path:
            self._problem(number, first.span, "this is no path: a name is missing beside a dot")
            return
        line, spans = self._line(number, path, rest)
        self.map.lines[number] = line
        self.map.spans[number] = {"path": first.span, **spans, **self.map.spans.get(number, {})}
        if (earlier := self.map.numbers.setdefault(path, number)) != number:
            self._problem(
                number, first.span, f"'{first.text}' stands on line {earlier} already, which is the one that counts"
            )

    def _line(self, number: int, path: str, fields: list[_Field]) -> tuple[MapLine, dict[str, Span]]:
        found: dict[str, _Field] = {}
        if fields and fields[0].text.isidentifier():
            found["class_name"] = fields.pop(0)
        for field in fields:
            for name, part in _parts(field):
                if name in found:
                    self._problem(number, part.span, f"'{part.text}' is a second {name.replace('class_name', 'class')}")
                else:
                    found[name] = part
        texts = {name: part.text for name, part in found.items()}
        line = MapLine(
            path,
            _kind(path, texts),
            texts.get("class_name", ""),
            texts.get("inputs", ""),
            texts.get("output", ""),
            int(texts["parameters"].replace(",", "")) if "parameters" in texts else None,
            read_flops(texts["flops"]) if "flops" in texts else None,
            texts.get("note", ""),
        )
        return line, {name: part.span for name, part in found.items()}

    def _problem(self, line: int, span: Span, message: str) -> None:
        self.map.problems.append(Problem(line, span.start, span.end, message))


def _fields(line: str) -> list[_Field]:
    return [_Field(match[0], Span(match.start() + 1, match.end() + 1)) for match in _FIELD.finditer(line)]


def _parts(field: _Field) -> list[tuple[str, _Field]]:
    """What a field behind the class is, by what it looks like; two for shapes."""
    if match := _SHAPES.fullmatch(field.text):
        start = field.span.start
        return [
            (name, _Field(match[group], Span(start + match.start(group), start + match.end(group))))
            for group, name in enumerate(("inputs", "output"), 1)
        ]
    if _NUMBER.fullmatch(field.text):
        return [("parameters", field)]
    return [("flops" if read_flops(field.text) is not None else "note", field)]


def _kind(path: str, texts: dict[str, str]) -> Kind:
    """Token selection has no class; what is not called says so, and has no shapes."""
    note = texts.get("note", "")
    if "class_name" not in texts and (note or path in PSEUDO_MODULES or _PROCESSOR.fullmatch(path)):
        return "selection"
    if "inputs" not in texts and note.startswith(LISTS):
        return "list"
    return "unused" if "inputs" not in texts and note.startswith(UNUSED) else "module"
