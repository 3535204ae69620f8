"""Writes the table of launch options in docs/protocol.md: `python -m tests.docs.launch_table`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from dap_server.protocol.launch import LaunchArguments

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- launch options: made by `python -m tests.docs.launch_table`, not by hand -->\n"
END = "<!-- end of launch options -->\n"
PLURALS = {"string": "strings", "object": "objects", "integer": "integers"}


def table() -> str:
    """A row per option: name, type, default, description."""
    schema = msgspec.json.schema(LaunchArguments)["$defs"]["LaunchArguments"]
    rows = [
        f"| `{name}` | {_type(option)} | {_default(option)} | {option['description'].replace('|', '/')} |\n"
        for name, option in schema["properties"].items()
    ]
    return "".join(["| option | type | default | |\n|---|---|---|---|\n", *rows])


def with_table(page: str) -> str:
    """The page with the table as it should be."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"docs/protocol.md has lost the line {BEGIN}"
    assert end, f"docs/protocol.md has lost the line {END}"
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


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
