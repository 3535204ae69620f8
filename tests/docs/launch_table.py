"""Writes the tables of the launch and attach options in docs/protocol.md: `python -m tests.docs.launch_table`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from dap_server.protocol.attach import AttachArguments
from dap_server.protocol.launch import LaunchArguments

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- {} options: made by `python -m tests.docs.launch_table`, not by hand -->\n"
END = "<!-- end of {} options -->\n"
KINDS: dict[str, type] = {"launch": LaunchArguments, "attach": AttachArguments}
PLURALS = {"string": "strings", "object": "objects", "integer": "integers"}


def table(configuration: type) -> str:
    """A row per option: name, type, default, description."""
    definitions = msgspec.json.schema(configuration)["$defs"]
    rows = [
        f"| `{name}` | {_type(option)} | {_default(option)} | {option['description'].replace('|', '/')} |\n"
        for name, option in _options(configuration.__name__, definitions)
    ]
    return "".join(["| option | type | default | |\n|---|---|---|---|\n", *rows])


def _options(name: str, definitions: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The options of an object; those of an object in it by their whole names."""
    for option, schema in definitions[name]["properties"].items():
        inner = schema.get("$ref", schema.get("items", {}).get("$ref"))
        if inner is None:
            yield option, schema
        else:
            mark = f"{option}." if "$ref" in schema else f"{option}[]."
            yield from ((mark + part, of_it) for part, of_it in _options(inner.rpartition("/")[2], definitions))


def with_table(page: str) -> str:
    """The page with the tables as they should be."""
    for kind, configuration in KINDS.items():
        marks = BEGIN.format(kind), END.format(kind)
        before, begin, rest = page.partition(marks[0])
        _, end, after = rest.partition(marks[1])
        assert begin, f"docs/protocol.md has lost the line {marks[0]}"
        assert end, f"docs/protocol.md has lost the line {marks[1]}"
        page = f"{before}{begin}\n{table(configuration)}\n{end}{after}"
    return page


def _type(option: dict[str, Any]) -> str:
    if "anyOf" in option:
        kinds = [_type(part) for part in option["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in option:
        return ", ".join(f"`{value}`" for value in option["enum"])
    kind = option["type"]
    if kind == "array":
        return f"list of {PLURALS[option['items']['type']]}"
    return str(kind)


def _default(option: dict[str, Any]) -> str:
    default = option.get("default")
    return "" if default in (None, {}) else f"`{json.dumps(default)}`"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
