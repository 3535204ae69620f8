"""Numbers on the wire."""

from __future__ import annotations

import math


def finite(number: float) -> float | None:
    """JSON has no word for what is not."""
    return number if math.isfinite(number) else None
