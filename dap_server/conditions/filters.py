"""The anomalies that a run can be stopped at: what each is called, and from where on it is one."""

from __future__ import annotations

from dataclasses import dataclass

from dap_server.conditions.names import FilterId


@dataclass(frozen=True)
class Filter:
    """One kind of anomaly.

    Attributes:
        description: one line.
        condition: its threshold, where nobody gives another; None says that every one counts.
        is_on: whether editors switch it on by themselves.
    """

    id: FilterId
    label: str
    description: str
    condition: str | None
    is_on: bool = False


_ALL = [
    Filter(
        "nonFinite",
        "Non-finite values",
        "NaN or infinity in what a module returns, where it comes into being",
        "count > 0",
        True,
    ),
    Filter("forwardError", "Python exceptions in a forward", "an exception that a module's forward raises", None, True),
    Filter(
        "nearOverflow",
        "Values close to overflow",
        "values close to the largest number that their dtype can hold",
        "peak > 0.5 * limit",
    ),
    Filter(
        "residual",
        "Residual stream explodes or collapses",
        "a layer makes the residual stream many times as large or as small",
        "growth > 1e5 or layer > 0 and growth > 20 or growth < 0.05",
    ),
    Filter(
        "deadActivations",
        "Dead or saturated activations",
        "an activation function lets nothing through, or gives little but its ends",
        "dead > 0.999 or saturated > 0.95",
    ),
    Filter(
        "attention",
        "Attention collapsed or uniform",
        "the heads of a layer see one position only, or all of them alike",
        "collapsed > 0.9 or uniform > 0.9",
    ),
    Filter(
        "repetition", "Repetition loop", "the text goes round in circles", "repeats >= 3 and period * repeats >= 24"
    ),
    Filter(
        "lowConfidence",
        "Low confidence",
        "any token would do: the probabilities are nearly even",
        "uncertainty > 0.9",
    ),
    Filter(
        "padding",
        "Padding that is wrong",
        "padding that the model looks at, that stands behind the text, or nothing but padding",
        "attended_padding > 0 or masked_tokens > 0 or right_padding > 0 or tokens == 0",
    ),
]

FILTERS: dict[str, Filter] = {filter.id: filter for filter in _ALL}
