"""Real multi-task data: builders for tensorflow-datasets, and arrays to train on."""

from paretax.data._celeb_a import CelebSplit
from paretax.data._census_income import CensusSplit
from paretax.data._contents import Table, TaskSpec
from paretax.data._dense import CitySplit, RoomSplit
from paretax.data._loader import Loader, LoaderState, loader
from paretax.data._multi_mnist import Split
from paretax.data._pairs import PairSplit, load_pairs
from paretax.data._qm9 import MoleculeSplit
from paretax.data._registry import Dataset, info, load, names, prepare, status
from paretax.data._stream import records, stream

__all__ = [
    "CelebSplit",
    "CensusSplit",
    "CitySplit",
    "Dataset",
    "Loader",
    "LoaderState",
    "MoleculeSplit",
    "PairSplit",
    "RoomSplit",
    "Split",
    "Table",
    "TaskSpec",
    "info",
    "load",
    "load_pairs",
    "loader",
    "names",
    "prepare",
    "records",
    "status",
    "stream",
]
