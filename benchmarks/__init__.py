"""What the debugger costs, side by side with what it is compared to: `python -m benchmarks --help`."""

import os
from pathlib import Path

ATLAS = Path(__file__).parents[1] / "fixtures" / "models" / "atlas"

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, here or in a child
