"""Writes the table of names in docs/conditions.md: `python -m tests.docs.names_table`."""

from __future__ import annotations

from pathlib import Path

from dap_server.conditions.names import EVERYWHERE, NAMES, Name

PAGE = Path(__file__).parents[2] / "docs" / "conditions.md"
BEGIN = "<!-- names: made by `python -m tests.docs.names_table`, not by hand -->\n"
END = "<!-- end of names -->\n"
PLACES = {"module": "modules", "operation": "operations", "logits": "`logits`", "processor": "processors"}

_YES = {True: "yes", False: ""}


def table() -> str:
    """A row per name: signature, what it is, places, whether it belongs to one sequence."""
    rows = [
        f"| `{_escaped(name.signature)}` | {name.documentation} | {_where(name)} | {_YES[name.is_per_sequence]} |\n"
        for name in NAMES.values()
        if name.is_of_places
    ]
    return "".join(["| name | | known | of one sequence |\n|---|---|---|---|\n", *rows])


def with_table(page: str) -> str:
    """The page with the table as it should be."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"docs/conditions.md has lost the line {BEGIN}"
    assert end, f"docs/conditions.md has lost the line {END}"
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _where(name: Name) -> str:
    if name.where == EVERYWHERE:
        return "everywhere"
    phases = dict.fromkeys(name.where.values())
    told = {
        phase: ", ".join(PLACES.get(place, f"`{place}`") for place in name.where if name.where[place] == phase)
        for phase in phases
    }
    return "; ".join(f"after {places}" if phase == "after" else f"at {places}" for phase, places in told.items())


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
