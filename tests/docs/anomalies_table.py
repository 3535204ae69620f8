"""Writes the tables in docs/anomalies.md: `python -m tests.docs.anomalies_table`."""

from __future__ import annotations

from pathlib import Path

from dap_server.conditions.filters import FILTERS
from dap_server.conditions.names import NAMES
from tests.faults.corpus import Fault
from tests.faults.seeded import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "anomalies.md"
MARKS = {name: f"<!-- {name}: made by `python -m tests.docs.anomalies_table`, not by hand -->\n" for name in (
    "filters", "names of filters", "faults"
)}  # fmt: skip
END = "<!-- end of {} -->\n"


def filters() -> str:
    """A row per filter: id, what it finds, its default, whether it is on."""
    rows = [
        f"| `{one.id}` | {one.description} | {f'`{one.condition}`' if one.condition else 'always'} "
        f"| {'yes' if one.is_on else ''} |\n"
        for one in FILTERS.values()
    ]
    return "".join(["| filter | finds | stops where | on |\n|---|---|---|---|\n", *rows])


def names() -> str:
    """A row per name that belongs to a filter."""
    rows = [
        f"| `{name.signature}` | `{name.filter}` | {name.documentation} | {'yes' if name.is_per_sequence else ''} |\n"
        for name in NAMES.values()
        if name.filter is not None
    ]
    return "".join(["| name | filter | | of one sequence |\n|---|---|---|---|\n", *rows])


def faults() -> str:
    """A row per fault: what is wrong, where the run stops, or why it does not."""
    return "".join(["| fault | filter | stops at |\n|---|---|---|\n", *map(_row, FAULTS)])


def _row(fault: Fault) -> str:
    found = fault.expected
    if found is None:
        return f"| {fault.name} | | not seen: {fault.missed} |\n"
    return f"| {fault.name} | `{found.filter}` | `{found.path}` in step {found.step} |\n"


def with_tables(page: str) -> str:
    """The page with the tables as they should be."""
    for name, table in (("filters", filters), ("names of filters", names), ("faults", faults)):
        before, begin, rest = page.partition(MARKS[name])
        _, end, after = rest.partition(END.format(name))
        assert begin, f"docs/anomalies.md has lost the line {MARKS[name]}"
        assert end, f"docs/anomalies.md has lost the end of {name}"
        page = f"{before}{begin}\n{table()}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
