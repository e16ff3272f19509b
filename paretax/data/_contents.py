"""What a data set is made of: splits, tasks, and what was learned from train."""

from typing import Any, NamedTuple

import numpy as np

__all__ = ["SPLITS", "Contents", "Table", "TaskSpec", "check_contents", "deal"]

SPLITS = ("train", "validation", "test")
_DEALT = ("train", "validation", "train", "test", "train")


class TaskSpec(NamedTuple):
    """What a task is: part of the data set's definition.

    Attributes:
      name: a short name.
      loss: "cross-entropy" (labels 0 to outputs − 1), "binary cross-entropy" (labels 0
        and 1, one logit), "squared error" (standardized labels), "absolute error"
        (labels in `unit`), or "cosine" (1 − the cosine of two vectors).
      metric: "accuracy", "AUC" (area under the ROC curve), "F1" (of the class 1), "MAE"
        (mean absolute error, in `unit`), "R2" (1 − mean squared error / variance in
        train), "mIoU" (mean over classes of intersection over union), "absolute error"
        (mean over pixels, in `unit`), or "mean angle" (in degrees).
      higher_is_better: the direction in which the metric improves.
      outputs: numbers that a head gives, at least 1.
      unit: of the metric; empty for a share.
      mean, scale: of the training split, in `unit`: a label is (value − mean) / scale;
        0 and 1 for classes.
      missing: the rule for missing labels. "refused": preparation raises. "masked": NaN
        stands for it, or −1 among classes, and the example (of a picture, the pixel)
        leaves the means of this task, of no other.

    Example:
      >>> from paretax import data
      >>> spec = data.TaskSpec("income", "binary cross-entropy", "AUC", True)
      >>> spec.outputs, spec.missing
      (1, 'refused')
    """

    name: str
    loss: str
    metric: str
    higher_is_better: bool
    outputs: int = 1
    unit: str = ""
    mean: float = 0.0
    scale: float = 1.0
    missing: str = "refused"


class Table(NamedTuple):
    """Examples in memory.

    Attributes:
      features: float32, shape [n, d], scaled by what the training split says.
      label: shape [n, m], one column a task: int32 classes, or float32 standardized.
    """

    features: np.ndarray
    label: np.ndarray


class Contents(NamedTuple):
    """All that is written when a data set is prepared.

    Attributes:
      splits: for each of `SPLITS` a NamedTuple of arrays, `label` [n, m] among them.
      tasks: m specs.
      statistics: what was learned from the training split besides; JSON.
    """

    splits: dict[str, Any]
    tasks: tuple[TaskSpec, ...]
    statistics: dict[str, Any]


def check_contents(contents: Contents, place: str) -> Contents:
    """The contents themselves, if every split has examples and every label its range.

    Raises:
      ValueError: an empty split; a label that is missing where that is refused, that is
        no class, or infinite; features that are not finite. Names split, task and row.
    """
    for split in SPLITS:
        arrays = contents.splits[split]
        if len(arrays.label) == 0:
            raise ValueError(
                f"{place}: expected examples in every split, got none in {split}; the "
                "source has too few rows."
            )
        for field, values in zip(arrays._fields, arrays, strict=True):
            if field != "label" and not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ValueError(
                    f"{place}: expected finite {field}, got another in row {row} of "
                    f"{split}."
                )
        for spec, labels in zip(contents.tasks, arrays.label.T, strict=True):
            _check_labels(spec, labels, f"{place}, {split}")
    return contents


def deal(strata: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Rows of each split, 3 : 1 : 1, and so within each stratum as nearly as it goes.

    Rows are shuffled, brought into the order of their strata, and dealt out like cards.

    Args:
      strata: integers [n], one a row.
      seed: of the shuffle.

    Returns:
      For each split the indices of its rows, in increasing order: disjoint, and all.
    """
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    turns = len(_DEALT)
    return {
        split: np.sort(
            np.concatenate(
                [order[i::turns] for i in range(turns) if _DEALT[i] == split]
            )
        )
        for split in SPLITS
    }


def _check_labels(spec, labels, place):
    missing = np.isnan(labels)
    if spec.missing == "masked":
        missing |= (labels == -1) & (spec.loss != "squared error")
        labels = labels[~missing]
    elif missing.any():
        raise ValueError(
            f"{place}: expected a label of {spec.name} in every row, got none (NaN) in "
            f"row {int(np.argmax(missing))}."
        )
    if spec.loss == "squared error":
        bad = ~np.isfinite(labels)
        wanted = "a finite number"
    else:
        classes = max(spec.outputs, 2)
        bad = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
        wanted = f"a class from 0 to {classes - 1}"
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{place}: expected {wanted} as label of {spec.name}, got {labels[row]} in "
            f"row {row}."
        )
