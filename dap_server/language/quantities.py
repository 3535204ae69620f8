"""How numbers are said in a hover and a hint."""

from __future__ import annotations

BYTES = {
    "float64": 8, "int64": 8, "float32": 4, "int32": 4, "bfloat16": 2, "float16": 2, "int16": 2,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1, "uint8": 1,
}  # fmt: skip
"""Of one element, by the name of its dtype."""


def short(count: int | float) -> str:
    """`2.65M`, in powers of ten."""
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.3g}"


def memory(parameters: int, dtype: str) -> str:
    """`10.1 MiB in float32`; empty where the dtype is not known."""
    size: float = parameters * BYTES.get(dtype, 0)
    if not size:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit} in {dtype}"
        size /= 1024
    return f"{size:.4g} TiB in {dtype}"


def share(part: int, whole: int | None) -> str:
    """` · 2.5 % of the model`; empty where there is nothing to compare with."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return f" · {percent:.3g} % of the model" if percent >= 0.01 else " · less than 0.01 % of the model"
