"""The tasks of grouping.py: real ones, and planted families of regressions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from paretax import data, grouping


class Problem(NamedTuple):
    """N tasks on the same inputs.

    Attributes:
      names: of the tasks.
      splits: "train", "validation", "test": x [n, d] and targets [N, n].
      binary: cross-entropy and share of errors; else squared and absolute error.
      families: of the tasks, where known by construction; or None.
      widths: of the hidden layers of a trunk.
      batch, steps, groups: examples a step, steps a run, K.
      exact: whether all 2^N sets of tasks are few enough to be trained.
    """

    names: tuple[str, ...]
    splits: dict[str, Any]
    binary: bool
    families: np.ndarray | None
    widths: tuple[int, ...]
    batch: int
    steps: int
    groups: int
    exact: bool = False


def loss_of(binary):
    if binary:
        return optax.sigmoid_binary_cross_entropy
    return lambda output, target: (output - target) ** 2


def error_of(binary):
    if binary:
        return lambda output, target: (output > 0) != (target > 0)
    return lambda output, target: jnp.abs(output - target)


def tabular(name, first=None):
    """Features and labels of a data set of numbers, of the first tasks only."""
    loaded = data.load(name)

    def split(part):
        part = getattr(loaded, part)
        return jnp.asarray(part.features), jnp.asarray(part.label[:, :first].T, float)

    splits = {part: split(part) for part in ("train", "validation", "test")}
    return loaded.task_names[:first], splits


def yeast():
    names, splits = tabular("yeast")
    return Problem(names, splits, True, None, (128, 64), 64, 1000, 3)


def yeast_of_six():
    names, splits = tabular("yeast", 6)
    return Problem(names, splits, True, None, (128, 64), 64, 1000, 2, exact=True)


def qm9():
    names, splits = tabular("qm9")
    return Problem(names, splits, False, None, (128, 64), 128, 5000, 3)


DIGITS = {
    "even": (0, 2, 4, 6, 8),
    "at least 5": (5, 6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "has a closed loop": (0, 4, 6, 8, 9),
    "of straight strokes only": (1, 4, 7),
    "multiple of 3": (0, 3, 6, 9),
}


def attributes(train=20_000):
    """8 questions about the left digit, 8 about the right one, 4 about both.

    Six of the eight follow from the label, two from the picture of that digit alone:
    more ink than the median, more slant than the median, both of the training split.
    The network sees the canvas of both, 36×36 averaged to 12×12.
    """
    loaded = data.load_pairs("multi_mnist")
    sizes = {"train": train, "validation": 5_000, "test": 5_000}
    seen = {part: measured(loaded[part], n) for part, n in sizes.items()}
    median = {key: np.median(seen["train"][key], axis=0) for key in ("ink", "slant")}
    mean, scale = seen["train"]["x"].mean(), seen["train"]["x"].std()

    def split(part):
        digits = part["label"]
        rows = []
        for side in (0, 1):
            rows += [np.isin(digits[:, side], list(which)) for which in DIGITS.values()]
            rows += [part[key][:, side] > median[key][side] for key in median]
        left, right = digits.T
        rows += [left > right, (left - right) % 2 == 0, left + right >= 10]
        rows += [part["ink"][:, 0] > part["ink"][:, 1]]
        x = (part["x"] - mean) / scale
        return jnp.asarray(x, jnp.float32), jnp.asarray(np.stack(rows), float)

    each = (*DIGITS, "much ink", "slanted")
    names = [f"{side}: {name}" for side in ("left", "right") for name in each]
    names += ["left > right", "same parity", "sum at least 10", "left has more ink"]
    splits = {part: split(arrays) for part, arrays in seen.items()}
    families = np.repeat([0, 1, 2], [len(each), len(each), 4])
    return Problem(tuple(names), splits, True, families, (128, 64), 128, 1500, 3)


def measured(part, count):
    """Labels, pooled canvas, ink and slant of the first examples of a split."""
    canvas = part.image[:count].astype(np.float64) / 255
    pictures = np.stack([part.left[:count], part.right[:count]], axis=1) / 255.0
    ink = pictures.sum(axis=(2, 3))
    at = np.arange(28.0)
    row = np.einsum("nsij,i->ns", pictures, at) / ink
    column = np.einsum("nsij,j->ns", pictures, at) / ink
    both = np.einsum("nsij,i,j->ns", pictures, at, at) / ink - row * column
    return {
        "label": part.label[:count],
        "x": canvas.reshape(-1, 12, 3, 12, 3).mean(axis=(2, 4)).reshape(count, -1),
        "ink": ink,
        "slant": -both,  # rows count downwards
    }


REAL = {
    "yeast": yeast,
    "yeast, first 6 labels": yeast_of_six,
    "qm9": qm9,
    "multi_mnist attributes": attributes,
}


def planted(key, num_tasks, families, directions=1):
    """Regressions whose targets lie in the subspace of their family; no noise.

    Returns x [64, 8], targets [N, 64] and the family of each task. Families have equal
    sizes, give or take one, and their subspaces are orthogonal.
    """
    inputs, basis, scale, order = jax.random.split(key, 4)
    x = jax.random.normal(inputs, (64, 8))
    basis = jnp.linalg.qr(jax.random.normal(basis, (8, families * directions)))[0]
    family = grouping.random_grouping(order, num_tasks, families)
    weights = jax.random.normal(scale, (num_tasks, directions))
    if directions == 1:
        size = jax.random.uniform(scale, (num_tasks, 1), minval=0.8, maxval=1.2)
        weights = size * jnp.sign(weights)
    columns = basis.T.reshape(families, directions, 8)[family]
    return x, jnp.einsum("ni,tdi,td->tn", x, columns, weights), family
