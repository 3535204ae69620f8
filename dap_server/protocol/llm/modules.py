"""What the rows of DAP's `modules` say of a model's modules beyond the specification."""

from __future__ import annotations

from dap_server.protocol.messages import SafeUInt
from dap_server.protocol.types import Module


class ModelModule(Module):
    """A module of the model; `additionalModuleColumns` names what is added here."""

    type: str | None = None
    """Its class."""
    line: SafeUInt | None = None
    """Of its `forward` in the file `path`, from 1."""
    parameters: SafeUInt | None = None
    """Elements of its parameters, those of modules inside it included."""
    dtype: str | None = None
    """Of its first parameter."""
    device: str | None = None
    """Of its first parameter."""
