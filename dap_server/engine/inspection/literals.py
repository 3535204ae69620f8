"""Python expressions that make a value again, to the last bit of a tensor."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dap_server.engine.inspection.rows import RAISED, reason
from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.raw_bytes import UnfitTensor
from dap_server.engine.inspection.tensors.text import dtype_name
from dap_server.protocol.errors import RequestError

Library = Literal["torch", "numpy"]

MOST = 1 << 16
"""Elements that are written out."""

_NUMPY = {"bool": "bool_", "bfloat16": "float32", "complex32": "complex64"}
"""What NumPy calls dtypes, and the nearest that holds those which it does not have."""


def literal(value: object) -> str:
    """A value as Python, with the tensors that are in its lists and dictionaries.

    Raises:
        UnfitTensor: a tensor that is too long to write out or cannot be, or a value that raises when it is asked.
    """
    try:
        return _literal(value)
    except RequestError:
        raise
    except RAISED as error:
        raise UnfitTensor(f"it cannot be written out: {reason(error)}") from None


def _literal(value: object) -> str:
    if isinstance(value, Tensor):
        return tensor_literal(value)
    if type(value) is dict:
        return f"{{{', '.join(f'{_literal(key)}: {_literal(item)}' for key, item in value.items())}}}"
    if type(value) is list:
        return f"[{', '.join(map(_literal, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


@torch.no_grad()
def tensor_literal(tensor: Tensor, library: Library = "torch") -> str:
    """`torch.tensor([[1.0, 2.5]], dtype=torch.float16)`, or the same with `np.array`.

    Raises:
        UnfitTensor: it is too long to write out, or has no values.
    """
    if tensor.numel() > MOST:
        raise UnfitTensor(
            f"a tensor of {tensor.numel():,} elements is too long to write out (at most {MOST:,}): "
            "save it with llm/saveTensor, in the terminal: save NAME PATH"
        )
    with torch._C.DisableTorchFunctionSubclass():
        plain, kind = tensor.detach(), kinds.kind(tensor)
        if library == "torch" and kind == "meta":
            return f"torch.empty({tuple(plain.shape)}, {_type(plain)})"
        if library == "torch" and kind == "sparse_coo":
            indices, values = (tensor_literal(part) for part in (plain._indices(), plain._values()))
            return f"torch.sparse_coo_tensor({indices}, {values}, {tuple(plain.shape)})"
        if not kinds.is_readable(tensor):
            raise UnfitTensor(f"it cannot be written out: {kinds.why_not(tensor)}")
        if kind == kinds.QUANTIZED:
            return _quantized(plain) if library == "torch" else tensor_literal(plain.dequantize(), library)
        if library == "numpy":
            return _numpy(plain)
        if not plain.numel():
            return f"torch.empty({tuple(plain.shape)}, {_type(plain)})"
        return f"torch.tensor({_nested(_texts(plain), tuple(plain.shape))}, {_type(plain)})"


def _quantized(tensor: Tensor) -> str:
    plain, kind = tensor_literal(tensor.dequantize().cpu()), f"torch.{dtype_name(tensor.dtype)}"
    if "channel" in str(tensor.qscheme()):
        scales, zeros = (
            tensor_literal(part) for part in (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())
        )
        return f"torch.quantize_per_channel({plain}, {scales}, {zeros}, {tensor.q_per_channel_axis()}, {kind})"
    return f"torch.quantize_per_tensor({plain}, {tensor.q_scale()!r}, {tensor.q_zero_point()}, {kind})"


def _numpy(tensor: Tensor) -> str:
    name = dtype_name(tensor.dtype)
    kind = f"np.{'float32' if name.startswith('float8') else _NUMPY.get(name, name)}"
    if not tensor.numel():
        return f"np.empty({tuple(tensor.shape)}, dtype={kind})"
    return f"np.array({_nested(_texts(tensor), tuple(tensor.shape))}, dtype={kind})"


def _type(tensor: Tensor) -> str:
    device = "" if tensor.device.type == "cpu" else f", device={str(tensor.device)!r}"
    return f"dtype=torch.{dtype_name(tensor.dtype)}{device}"


def _texts(tensor: Tensor) -> list[str]:
    """The elements in order, each as Python has it."""
    flat = tensor.resolve_conj().resolve_neg().reshape(-1).cpu()
    if flat.is_complex():
        wide = torch.view_as_real(flat.to(torch.complex128)).tolist()
        return [f"complex({_float(real)}, {_float(imaginary)})" for real, imaginary in wide]
    if not flat.is_floating_point():
        return [repr(number) for number in flat.tolist()]
    if flat.dtype is torch.float64:
        return [_float(number) for number in flat.tolist()]
    narrow = flat.to(torch.float32).numpy()
    shown = [_float(number) if not np.isfinite(number) else str(number) for number in narrow]
    # The shortest text of a float32 is read as a float64 first: where that rounds the other way, all digits are needed.
    return [
        text if not np.isfinite(number) or np.float32(float(text)) == number else repr(float(number))
        for text, number in zip(shown, narrow, strict=True)
    ]


def _float(number: Any) -> str:
    return repr(float(number)) if np.isfinite(number) else f"float('{float(number)}')"


def _nested(texts: list[str], shape: tuple[int, ...]) -> str:
    """Lists in lists, as a shape says."""
    for size in reversed(shape):
        texts = [f"[{', '.join(texts[i : i + size])}]" for i in range(0, len(texts), size)]
    return texts[0]
