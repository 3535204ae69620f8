"""Own messages about one tensor: a page of it as a tile, Python that makes it again, a file with it.

Which tensor is said by the `variablesReference` of its row, or by an `expression` in a frame; the top one when missing.
"""

from __future__ import annotations

from typing import Literal

from dap_server.protocol.llm.tiles import MaxCells, Reduction, Tile, TileDtype
from dap_server.protocol.messages import Int32, SafeInt, SafeUInt, Struct, UInt31


class TensorArguments(Struct):
    """`llm/tensor`: a page of one or two axes."""

    variables_reference: UInt31 | None = None
    expression: str | None = None
    frame_id: Int32 | None = None
    slices: list[SafeInt | list[SafeInt] | None] | None = None
    """By axis: an index, `[start, end]`, or null for all of it. Of those that are not given the last two are whole, as
    far as two axes are left; others are at 0."""
    max_cells: MaxCells = 1 << 16
    """A page with more numbers is down-sampled."""
    dtype: TileDtype = "float32"
    reduction: Reduction = "magnitude"
    statistics: bool = False
    """Whether the statistics of the page are wanted too."""
    distribution: bool = False
    """Whether its quantiles, histogram and outliers are."""
    whole: bool = False
    """Whether statistics and distribution are those of the whole tensor rather than of the page."""


class TensorAxis(Struct):
    """One axis of the tensor: `index` of one that is fixed, `start` and `end` of one that the tile has."""

    name: str
    size: SafeUInt
    index: SafeUInt | None = None
    start: SafeUInt | None = None
    end: SafeUInt | None = None
    labels: list[str] | None = None
    """The token at every cell of the tile; of a cell that stands for several the first one."""


class TensorStatistics(Struct):
    """Of all numbers of the page, or of the tensor, not only those that are sent; null without a finite one."""

    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    norm: float | None
    zeros: SafeUInt
    nan: SafeUInt
    positive_inf: SafeUInt
    negative_inf: SafeUInt


class TensorElement(Struct):
    """One number and where it stands in the whole tensor."""

    index: list[SafeUInt]
    value: float


class TensorDistribution(Struct):
    """How the finite numbers of the page, or of the tensor, are distributed; empty lists where there are none."""

    percents: list[SafeUInt]
    quantiles: list[float]
    """By `percents`, interpolated as NumPy does."""
    edges: list[float]
    """Of the bins of a histogram, one more than there are; a bin holds its lower edge, the last one both."""
    counts: list[SafeUInt]
    farthest: list[TensorElement]
    """From 0, those first."""
    first_non_finite: list[SafeUInt] | None = None
    """Where the first NaN or infinity stands."""
    sample: SafeUInt | None = None
    """Of how many elements, drawn at random, quantiles and histogram are where those of all would take long."""


class TensorResponseBody(Struct):
    """A page. The axes of the tile are those that have a `start`, in their order; float32 rounds what is wider."""

    shape: list[SafeUInt]
    """Of the whole tensor."""
    dtype: str
    device: str
    axes: list[TensorAxis]
    tile: Tile
    statistics: TensorStatistics | None = None
    distribution: TensorDistribution | None = None


class TensorLiteralArguments(Struct):
    """`llm/tensorLiteral`: Python that makes the tensor again."""

    variables_reference: UInt31 | None = None
    expression: str | None = None
    frame_id: Int32 | None = None
    library: Literal["torch", "numpy"] = "torch"


class TensorLiteralResponseBody(Struct):
    """The Python expression; it needs `torch`, or NumPy as `np`."""

    text: str


class SaveTensorArguments(Struct):
    """`llm/saveTensor`: writes the tensor to a file."""

    path: str
    """Absolute; its suffix says the format: `.safetensors` or `.npy`."""
    variables_reference: UInt31 | None = None
    expression: str | None = None
    frame_id: Int32 | None = None
    overwrite: bool = False


class SaveTensorResponseBody(Struct):
    """What was written."""

    path: str
    bytes: SafeUInt
    """Size of the file."""
    shape: list[SafeUInt]
    dtype: str
