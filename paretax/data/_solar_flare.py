"""Solar flare (Mulan's sf2): flares of three classes in the next 24 hours."""

import os

import numpy as np

from paretax.data._columns import codes, numbers, read_columns, standardize
from paretax.data._contents import Contents, Table, TaskSpec, check_contents, deal
from paretax.data._files import PackagedFile, read_file

__all__ = ["ABOUT", "NUM_FEATURES", "SOLAR_FLARE", "TARGETS", "compose"]

SOLAR_FLARE = PackagedFile(
    title="Solar Flare (UCI, CC BY 4.0; Mulan's sf2)",
    module="river",
    path="datasets/solar-flare.csv.zip",
    md5="c3c107a480f309990027b8ce9730fa62",
    package="river",
    command="pip install 'paretax[data]'",
)
TARGETS = ("c-class-flares", "m-class-flares", "x-class-flares")
_LETTERS = {
    "zurich-class": "ABCDEFH",
    "largest-spot-size": "XRSAHK",
    "spot-distribution": "XOIC",
}
_GRADES = (
    "activity",
    "evolution",
    "previous-24h-flare-activity",
    "hist-complex",
    "hist-complex-this-pass",
    "area",
    "largest-spot-area",
)
NUM_FEATURES = sum(map(len, _LETTERS.values())) + len(_GRADES)
ABOUT = {
    "features": "24 numbers: 3 letters one-hot (7 + 6 + 4), 7 grades standardized",
    "tasks": "flares of class c, m and x: squared error of standardized counts, R2",
    "splits": "640 train, 213 validation, 213 test; alike in the rarest flare seen",
    "sources": SOLAR_FLARE.title,
}
_SEED = 20260101


def compose(manual_dir: str | os.PathLike | None = None) -> Contents:
    """1,066 regions of the sun, features [n, 24], label [n, 3] standardized.

    Dealt 3 : 1 : 1 within the strata of the strongest class of flare that followed: x
    followed 5 regions only.
    """
    place = "solar_flare"
    table = read_columns(
        read_file(SOLAR_FLARE, manual_dir),
        place,
        wanted=(*_LETTERS, *_GRADES, *TARGETS),
    )
    letters = [
        np.eye(len(known))[codes(table[name], known, place)]
        for name, known in _LETTERS.items()
    ]
    grades = np.stack([numbers(table[name], place) for name in _GRADES], axis=1)
    counts = np.stack([_counts(table[name], place) for name in TARGETS], axis=1)
    rows = deal(_strongest(counts), _SEED)
    mean, scale = standardize(grades[rows["train"]])
    features = np.hstack([*letters, (grades - mean) / scale]).astype(np.float32)
    target_mean, target_scale = standardize(counts[rows["train"]])
    label = ((counts - target_mean) / target_scale).astype(np.float32)
    tasks = tuple(
        TaskSpec(
            name, "squared error", "R2", True,
            unit="flares", mean=float(target_mean[i]), scale=float(target_scale[i]),
        )
        for i, name in enumerate(TARGETS)
    )  # fmt: skip
    splits = {split: Table(features[own], label[own]) for split, own in rows.items()}
    facts = {"grade_mean": mean.tolist(), "grade_scale": scale.tolist()}
    return check_contents(Contents(splits, tasks, facts), place)


def _counts(column, place):
    values = numbers(column, place)
    bad = (values < 0) | (values != np.floor(values))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{place}: expected a count in column {column.name}, got {values[row]:g} "
            f"in row {row}."
        )
    return values


def _strongest(counts):
    """0 where x flares followed, 1 where m and no x, 2 where c alone, 3 where none."""
    return np.where(counts.any(axis=1), np.argmax(counts[:, ::-1] > 0, axis=1), 3)
