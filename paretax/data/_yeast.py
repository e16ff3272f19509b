"""Yeast: 14 functional classes of a gene from its expression profile."""

import os

import numpy as np

from paretax.data._columns import codes, numbers, read_columns, standardize
from paretax.data._contents import Contents, Table, TaskSpec, check_contents, deal
from paretax.data._files import PackagedFile, read_file

__all__ = ["ABOUT", "FEATURES", "LABELS", "YEAST", "compose", "rarest_label"]

YEAST = PackagedFile(
    title="Yeast (Elisseeff & Weston 2001, as in Mulan)",
    module="river",
    path="datasets/yeast.csv.gz",
    md5="422f17cc19b5c77b87fbf137322b659c",
    package="river",
    command="pip install 'paretax[data]'",
)
FEATURES = tuple(f"Att{i}" for i in range(1, 104))
LABELS = tuple(f"Class{i}" for i in range(1, 15))
ABOUT = {
    "features": "103 numbers: expression levels and a phylogenetic profile",
    "tasks": "Class1 to Class14: binary cross-entropy, accuracy (1 − Hamming loss)",
    "splits": "1,450 train, 484 validation, 483 test; each class in each",
    "sources": YEAST.title,
}
_SEED = 20260101


def compose(manual_dir: str | os.PathLike | None = None) -> Contents:
    """2,417 genes, features [n, 103] standardized, label int32 [n, 14] of 0 and 1.

    Dealt 3 : 1 : 1 within the strata of each gene's rarest class, so that each class is
    in each split. Mulan's own files have 1,500 genes to train and 917 to test; which
    they are, this source does not tell.
    """
    table = read_columns(
        read_file(YEAST, manual_dir), "yeast", wanted=(*FEATURES, *LABELS)
    )
    features = np.stack([numbers(table[name], "yeast") for name in FEATURES], axis=1)
    label = np.stack([codes(table[n], ("0", "1"), "yeast") for n in LABELS], axis=1)
    rows = deal(rarest_label(label), _SEED)
    mean, scale = standardize(features[rows["train"]])
    features = ((features - mean) / scale).astype(np.float32)
    tasks = tuple(TaskSpec(n, "binary cross-entropy", "accuracy", True) for n in LABELS)
    splits = {split: Table(features[own], label[own]) for split, own in rows.items()}
    facts = {"feature_mean": mean.tolist(), "feature_scale": scale.tolist()}
    return check_contents(Contents(splits, tasks, facts), "yeast")


def rarest_label(label: np.ndarray) -> np.ndarray:
    """The rarest class of each row, as its rank from the rarest on; m for none."""
    m = label.shape[1]
    rank = np.empty(m, np.int64)
    rank[np.argsort(label.sum(axis=0), kind="stable")] = np.arange(m)
    return np.where(label > 0, rank, m).min(axis=1, initial=m)
