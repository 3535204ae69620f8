"""The filters of Python exceptions that have nothing to do with a model's forward."""

from __future__ import annotations

from dataclasses import dataclass

UNCAUGHT = "python.uncaught"


@dataclass(frozen=True)
class PythonFilter:
    """One kind of stop at an exception of Python.

    Attributes:
        description: one line.
        is_on: whether editors switch it on by themselves.
    """

    id: str
    label: str
    description: str
    is_on: bool = False


_ALL = [
    PythonFilter(
        UNCAUGHT,
        "Uncaught Python exceptions",
        "an exception that ends the program or one of its threads, looked at post mortem",
        True,
    ),
    PythonFilter(
        "python.userUnhandled",
        "Python exceptions that the program does not catch itself",
        "an exception that leaves the program's own code, whoever catches it then",
    ),
    PythonFilter("python.raised", "Raised Python exceptions", "every exception, where it is raised"),
]

PYTHON_FILTERS: dict[str, PythonFilter] = {one.id: one for one in _ALL}
"""By id, in the order in which they are offered."""
