"""Real multi-task data: builders for tensorflow-datasets, and arrays to train on."""

from paretax.data._census_income import CensusSplit
from paretax.data._contents import Table, TaskSpec
from paretax.data._multi_mnist import Split
from paretax.data._pairs import PairSplit, load_pairs
from paretax.data._qm9 import MoleculeSplit
from paretax.data._registry import Dataset, info, load, names, prepare, status

__all__ = [
    "CensusSplit",
    "Dataset",
    "MoleculeSplit",
    "PairSplit",
    "Split",
    "Table",
    "TaskSpec",
    "info",
    "load",
    "load_pairs",
    "names",
    "prepare",
    "status",
]
