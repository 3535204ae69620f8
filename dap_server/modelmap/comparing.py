"""Two maps side by side: where one does not fit a model, and where its lines have gone."""

from __future__ import annotations

import difflib
from collections import Counter

from dap_server.modelmap.model_map import MapLine, MapText, ModelMap, Problem, Span


def moves(old: MapText, new: MapText) -> dict[int, int]:
    """The new line of every old one whose place is in both."""
    return {line: number for path, line in old.numbers.items() if (number := new.line_of(path)) is not None}


def differences(map_text: MapText, other: ModelMap) -> list[Problem]:
    """Where a map does not fit another of the model as it is, line by line; empty if it fits.

    What is missing is told where it would lie, at the line of the module around it, once for all that lies inside it.
    """
    places = {line.path: line for line in other.lines}
    return sorted(misfits(map_text, other) + _missing(map_text, places))


def misfits(map_text: MapText, other: ModelMap) -> list[Problem]:
    """The same of what stands in the map; what does not is left out."""
    places = {line.path: line for line in other.lines}
    found = _in_header(map_text, other)
    for number, line in map_text.lines.items():
        found += _of_line(number, line, map_text.spans[number], places)
    return sorted(found)


def _in_header(map_text: MapText, other: ModelMap) -> list[Problem]:
    if not map_text.class_name or map_text.class_name == other.class_name:
        return []
    line, span = map_text.header["class_name"]
    return [Problem(line, *span, f"this is the map of a {map_text.class_name}; the model is a {other.class_name}")]


def _of_line(number: int, line: MapLine, spans: dict[str, Span], places: dict[str, MapLine]) -> list[Problem]:
    model = places.get(line.path)
    if model is None:
        return [Problem(number, *spans["path"], f"the model has no '{line.place_name}'{_nearest(line.path, places)}")]
    found = []
    if line.class_name and line.class_name != model.class_name:
        text = f"'{line.place_name}' is a {model.class_name or 'place of token selection'} in the model"
        found.append(Problem(number, *spans["class_name"], text))
    for name, verb in (("inputs", "is given"), ("output", "returns")):
        shape, actual = getattr(line, name), getattr(model, name)
        if shape and actual and shape != actual:
            found.append(Problem(number, *spans[name], f"'{line.place_name}' {verb} {actual} in the model"))
    if line.parameters is not None and line.parameters != model.parameters:
        text = f"'{line.place_name}' has {model.parameters or 0:,} parameters in the model"
        found.append(Problem(number, *spans["parameters"], text))
    if line.can_stop and not model.can_stop:
        found.append(Problem(number, *spans["path"], model.why_not))
    return found


def _nearest(path: str, places: dict[str, MapLine]) -> str:
    """Among what lies beside it, which is where names are mistyped; a search of all places would take minutes."""
    around = _around(path, places)
    prefix = f"{around}." if around else ""
    name = path.removeprefix(prefix).partition(".")[0]
    beside = {p.removeprefix(prefix).partition(".")[0] for p in places if p.startswith(prefix) and p != around}
    if name in beside:
        return ""
    near = difflib.get_close_matches(name, sorted(beside), n=2)
    return f"; did you mean {' or '.join(repr(prefix + other) for other in near)}?" if near else ""


def _around(path: str, places: dict[str, MapLine] | dict[str, int]) -> str:
    """The nearest module around a path that there is."""
    while path:
        path = path.rpartition(".")[0]
        if path in places:
            return path
    return ""


def _missing(map_text: MapText, places: dict[str, MapLine]) -> list[Problem]:
    missing = {path for path in places if path not in map_text.numbers}
    outermost = {path: path for path in sorted(missing)}
    for path in outermost:
        above = path.rpartition(".")[0]
        if "." in path and above in missing:
            outermost[path] = outermost[above]
    found = []
    for path, count in Counter(outermost.values()).items():
        inside = f" and the {count - 1} places inside it are" if count > 2 else " and the place inside it are"
        text = f"'{places[path].place_name}'{inside if count > 1 else ' is'} missing in this map"
        around = _around(path, map_text.numbers)
        line = map_text.line_of(around) or 1
        spans = map_text.spans.get(line, {})
        found.append(Problem(line, *spans.get("path", Span(1, (map_text.lengths or [0])[0] + 1)), text))
    return found
