"""What kinds of tensors there are besides plain ones: those whose elements cannot simply be read, and why."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

QUANTIZED = "quantized"
NESTED = "nested"
DISTRIBUTED = "distributed"
TRANSFORMED = "inside a torch.func transform"
FREED = "freed"

WHY = {
    "meta": "a tensor on the meta device has no values",
    "fake": "a fake tensor has no values",
    "uninitialized": "it has no shape and no values yet",
    FREED: "its memory has been given back",
    DISTRIBUTED: "its elements are spread over several processes: look at `local`",
    NESTED: "its parts have different shapes: look at one of them",
    TRANSFORMED: "it stands for other values: look at `inside`",
    "mkldnn": "its layout is known to oneDNN alone",
}
"""What to say of a kind whose elements cannot be read; sparse ones say it themselves."""


def kind(tensor: Tensor) -> str:
    """What a tensor is; nothing for a plain one. Touches no value, and nothing that would end the process."""
    if is_uninitialized(tensor):
        return "uninitialized"
    if isinstance(tensor, FakeTensor):
        return "fake"
    if tensor.is_nested:
        return NESTED
    if is_distributed(tensor):
        return DISTRIBUTED
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return TRANSFORMED
    if tensor.is_meta:
        return "meta"
    if tensor.layout is not torch.strided:
        return str(tensor.layout).removeprefix("torch.").lstrip("_")
    if tensor.is_quantized:
        return QUANTIZED
    return FREED if _is_freed(tensor) else ""


def is_uninitialized(value: Tensor) -> bool:
    """A parameter of a lazy module that has not run yet: touching anything of it raises."""
    return bool(is_lazy(value))


def is_readable(tensor: Tensor) -> bool:
    """Whether elements and pages of them can be had, axis by axis."""
    return kind(tensor) in ("", QUANTIZED)


def why_not(tensor: Tensor) -> str:
    """Why the elements of a tensor cannot be read."""
    found = kind(tensor)
    return WHY.get(found, f"it is {found}: look at its `values`")


def parts(tensor: Tensor) -> list[tuple[str, Tensor]]:
    """The tensors that one of a special kind is made of, by name."""
    found = kind(tensor)
    if found == DISTRIBUTED:
        return [("local", tensor._local_tensor)]  # type: ignore[attr-defined]  # without talking to other processes
    if found == TRANSFORMED:
        return [("inside", torch._C._functorch.get_unwrapped(tensor))]
    if found == NESTED:
        return [(f"part {i}", part) for i, part in enumerate(tensor.detach().unbind())]
    if found == "sparse_coo":
        return [("indices", tensor._indices()), ("values", tensor._values())]
    if found.startswith("sparse"):
        by_row = found in ("sparse_csr", "sparse_bsr")
        indices = ("crow_indices", "col_indices") if by_row else ("ccol_indices", "row_indices")
        return [(name, getattr(tensor, name)()) for name in (*indices, "values")]
    return []


def is_distributed(tensor: Tensor) -> bool:
    """A DTensor: reading it would need all processes."""
    return hasattr(tensor, "_local_tensor") and hasattr(tensor, "device_mesh")


def _is_freed(tensor: Tensor) -> bool:
    """Sharded training gives the memory of tensors back and keeps the objects: reading one would end the process."""
    if not tensor.numel():
        return False
    last = tensor.storage_offset() + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    try:
        return tensor.untyped_storage().nbytes() < (last + 1) * tensor.element_size()
    except (RuntimeError, NotImplementedError):  # a subclass that wraps others has none
        return False
