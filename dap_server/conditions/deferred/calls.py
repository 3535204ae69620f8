"""What torch computes on the device without the host waiting for it, and what it does not."""

from __future__ import annotations

from typing import Literal

Result = Literal["tensor", "several", "host", "number"]
"""What a call gives: a tensor, a tuple of tensors, a value that the host has, and such a value that is a number."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTIONS = _words(
    """
    abs acos add all amax amin any argmax argmin argsort asin atan atan2 ceil clamp clip cos cosh count_nonzero
    cumprod cumsum diagonal diff div dot eq erf erfc exp expm1 fix flatten flip floor floor_divide fmod frac gather
    ge gt hypot isclose isfinite isinf isnan isneginf isposinf isreal ldexp le lerp lgamma log log10 log1p log2
    log_softmax logaddexp logical_and logical_not logical_or logical_xor logsumexp logit lt matmul maximum mean
    minimum movedim mul multiply nan_to_num nanmean nansum narrow ne neg negative norm numel permute positive pow
    prod reciprocal relu remainder reshape round rsqrt select sigmoid sign signbit sin sinh softmax sqrt square
    squeeze std sub subtract sum swapaxes take tan tanh trace transpose tril triu true_divide trunc unsqueeze var
    xlogy
    """
)
_METHODS_ONLY = _words(
    "bfloat16 bool clone contiguous detach double expand expand_as float half int long repeat view view_as"
)
_SEVERAL = _words("aminmax chunk cummax cummin kthvalue sort split std_mean topk unbind var_mean")

_HOST_METHODS: dict[str, Result] = {
    **dict.fromkeys(("dim", "element_size", "ndimension", "nelement", "numel"), "number"),
    **dict.fromkeys(("is_complex", "is_contiguous", "is_floating_point", "is_signed", "size", "stride"), "host"),
}
METHODS: dict[str, Result] = {
    **dict.fromkeys(_FUNCTIONS | _METHODS_ONLY | {"max", "min", "where"}, "tensor"),
    **dict.fromkeys(_SEVERAL - {"std_mean", "var_mean"}, "several"),
    **_HOST_METHODS,
}
"""Of a tensor."""

FUNCTIONS: dict[str, Result] = {
    **dict.fromkeys(_FUNCTIONS | {"cat", "concat", "cosine_similarity", "max", "min", "stack", "where"}, "tensor"),
    **dict.fromkeys(_SEVERAL, "several"),
    **dict.fromkeys(("is_complex", "is_floating_point", "is_tensor"), "host"),
    "numel": "number",
}
"""Of torch, whose first argument is a tensor."""

ATTRIBUTES: dict[str, Result] = {
    **dict.fromkeys(("H", "T", "imag", "mH", "mT", "real"), "tensor"),
    **dict.fromkeys(("device", "dtype", "is_cuda", "is_leaf", "layout", "requires_grad", "shape"), "host"),
    "itemsize": "number",
    "nbytes": "number",
    "ndim": "number",
}
"""Of a tensor."""

PARTS = _words("values indices min max")
"""The fields of what gives several tensors."""

JOINING = _words("cat concat stack")
"""Functions whose first argument is a list of tensors."""

_ONE = _words(
    """
    add atan2 cosine_similarity div dot eq expand_as floor_divide fmod ge gt hypot isclose ldexp le logaddexp
    logical_and logical_or logical_xor lt matmul max maximum min minimum mul multiply ne pow remainder sub subtract
    take true_divide view_as xlogy
    """
)
TENSOR_ARGUMENTS: dict[str, frozenset[int]] = {
    **dict.fromkeys(_ONE, frozenset({1})),
    **dict.fromkeys(("clamp", "clip", "lerp", "where"), frozenset({1, 2})),
    "gather": frozenset({2}),
}
"""Which arguments besides the first may be tensors, counted from that one. Elsewhere torch reads the number."""

TENSOR_KEYWORDS = _words("other min max index exponent")

CONSTANTS: dict[str, Result] = {
    **dict.fromkeys(("e", "inf", "nan", "pi"), "number"),
    **dict.fromkeys(_words("bfloat16 bool double float float16 float32 float64 half int int16 int32 int64"), "host"),
    **dict.fromkeys(_words("Tensor int8 long short uint8 float8_e4m3fn float8_e5m2"), "host"),
}
"""Of torch."""

COMPUTED = frozenset([*METHODS, *FUNCTIONS, *ATTRIBUTES, *PARTS, *CONSTANTS])
"""All of these. None writes into a tensor, except by `out`, or draws at random."""

WAITING: dict[str, str] = {
    "item": "leave it away",
    "tolist": "",
    "cpu": "leave it away",
    "numpy": "",
    "nonzero": "write .any() or .count_nonzero()",
    "argwhere": "write .any() or .count_nonzero()",
    "unique": "",
    "unique_consecutive": "",
    "bincount": "",
    "histc": "",
    "masked_select": "write torch.where() with three arguments",
    "equal": "write (a == b).all()",
    "allclose": "write torch.isclose(a, b).all()",
    "is_nonzero": "write != 0",
}
"""What the host waits in, and what to write instead."""

INSTEAD: dict[str, str] = {
    "max": "write torch.maximum() or .max()",
    "min": "write torch.minimum() or .min()",
    "sum": "write .sum()",
    "any": "write .any()",
    "all": "write .all()",
    "sorted": "write .sort()",
    "round": "write .round()",
    "pow": "write **",
    "float": "leave it away",
    "int": "leave it away",
    "bool": "leave it away",
}
"""Python's functions that look at the numbers of a tensor, and what to write instead."""
