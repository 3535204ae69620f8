"""What `initialize` tells beside flags: modes of breakpoints, filters of anomalies, columns of the list of modules."""

from __future__ import annotations

from dap_server.conditions.filters import FILTERS, Filter
from dap_server.conditions.names import NAMES
from dap_server.conditions.python_filters import PYTHON_FILTERS
from dap_server.protocol.capabilities import BreakpointMode, ColumnDescriptor, ExceptionBreakpointsFilter

BREAKPOINT_MODES = [
    BreakpointMode(mode="before", label="before", description="Stop before the module runs", applies_to=["source"]),
    BreakpointMode(mode="after", label="after", description="Stop when it has run", applies_to=["source"]),
]


def _threshold(filter: Filter) -> str:
    """What an editor shows where somebody types a condition for a filter."""
    names = ", ".join(name for name, known in NAMES.items() if known.filter == filter.id)
    return (
        f"{f'instead of {filter.condition}' if filter.condition else 'every one without a condition'}. Names: {names}"
    )


EXCEPTION_FILTERS = [
    ExceptionBreakpointsFilter(
        filter=filter.id,
        label=filter.label,
        description=filter.description,
        default=filter.is_on,
        supports_condition=True,
        condition_description=_threshold(filter),
    )
    for filter in FILTERS.values()
] + [
    ExceptionBreakpointsFilter(
        filter=filter.id, label=filter.label, description=filter.description, default=filter.is_on
    )
    for filter in PYTHON_FILTERS.values()
]

MODULE_COLUMNS = [
    ColumnDescriptor(attribute_name="type", label="class", type="string"),
    ColumnDescriptor(attribute_name="parameters", label="parameters", type="number"),
    ColumnDescriptor(attribute_name="dtype", label="dtype", type="string"),
    ColumnDescriptor(attribute_name="device", label="device", type="string"),
]
