"""Writes a tensor to a file, piece by piece, so that it takes little memory; the file is there when it is whole."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from dap_server.engine.execution.memory import size as size_text
from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.pieces import Between, pieces, unheard
from dap_server.engine.inspection.tensors.raw_bytes import UnfitTensor
from dap_server.engine.inspection.tensors.text import dtype_name

SAFETENSORS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls the dtypes that it knows."""

_NPY = [
    "float64",
    "float32",
    "float16",
    "complex128",
    "complex64",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]

NAME = "tensor"
"""Of the tensor in a `.safetensors` file."""


@torch.no_grad()
def save(tensor: Tensor, path: str, overwrite: bool = False, between: Between = unheard) -> int:
    """Writes a `.safetensors` or `.npy` file; gives its size in bytes.

    Raises:
        UnfitTensor: it cannot be written there, or not in this format; the text says what can be done.
    """
    target = _target(path, overwrite)
    if not kinds.is_readable(tensor) or tensor.is_quantized:
        why = "save `.dequantize()` or `.int_repr()` of it" if tensor.is_quantized else kinds.why_not(tensor)
        raise UnfitTensor(f"it cannot be saved as it is: {why}")
    header = _npy_header(tensor) if target.suffix == ".npy" else _safetensors_header(tensor)
    size = len(header) + tensor.numel() * tensor.element_size()
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise UnfitTensor(f"{size_text(size)} do not fit: {size_text(free)} are free in '{target.parent}'")
    try:
        with _whole(target) as file:
            file.write(header)
            for piece in pieces(tensor, between):
                plain = piece.resolve_conj().resolve_neg().cpu().contiguous()
                file.write(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    except OSError as error:
        raise UnfitTensor(f"cannot write '{target}': {error.strerror or error}") from None
    return size


def _target(path: str, overwrite: bool) -> Path:
    if "\0" in path:
        raise UnfitTensor("no path has a NUL character in it")
    target = Path(path).expanduser()
    if not target.is_absolute():
        raise UnfitTensor(f"'{path}' is no absolute path: the model's process has another working directory than you")
    if target.suffix not in (".safetensors", ".npy"):
        raise UnfitTensor(f"'{target.name}' does not say in which format: end it in .safetensors or .npy")
    if not target.parent.is_dir():
        raise UnfitTensor(f"there is no folder '{target.parent}'")
    if target.is_dir():
        raise UnfitTensor(f"'{target}' is a folder")
    if target.exists() and not overwrite:
        raise UnfitTensor(
            f"'{target}' is there already: set `overwrite` to replace it (in the terminal: save! NAME PATH)"
        )
    return target


@contextmanager
def _whole(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of another one once everything is in it, or leaves no trace."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _npy_header(tensor: Tensor) -> bytes:
    name = dtype_name(tensor.dtype)
    if name not in _NPY:
        raise UnfitTensor(f".npy has no {name}: save it as .safetensors, or converted to float32")
    dtype, header = np.dtype(name), io.BytesIO()
    described = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": tuple(tensor.shape)}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _safetensors_header(tensor: Tensor) -> bytes:
    """The format as https://github.com/huggingface/safetensors describes it: a length, JSON, the elements."""
    name = SAFETENSORS.get(tensor.dtype)
    if name is None:
        raise UnfitTensor(f".safetensors has no {dtype_name(tensor.dtype)}: save it converted to another dtype")
    end = tensor.numel() * tensor.element_size()
    described = {NAME: {"dtype": name, "shape": list(tensor.shape), "data_offsets": [0, end]}}
    text = json.dumps({"__metadata__": {"format": "pt"}, **described}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
