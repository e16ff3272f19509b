"""Real multi-task data: builders for tensorflow-datasets, and arrays to train on."""

from paretax.data._pairs import PairSplit, load_pairs
from paretax.data._registry import (
    Dataset,
    Split,
    info,
    load,
    names,
    prepare,
    status,
)

__all__ = [
    "Dataset",
    "PairSplit",
    "Split",
    "info",
    "load",
    "load_pairs",
    "names",
    "prepare",
    "status",
]
