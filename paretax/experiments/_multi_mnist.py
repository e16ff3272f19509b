"""MultiMNIST as a task: classify the left and the right picture."""

import os

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from paretax import models
from paretax.experiments._perceptron import perceptron_parts
from paretax.experiments._tabular import load_of
from paretax.experiments._task import Task

__all__ = ["multi_mnist"]

_REFERENCE = 2.0
_WIDTHS = (256, 64)


def multi_mnist(
    name: str = "multi_mnist",
    *,
    examples: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Task:
    """MultiMNIST with a perceptron of 324-256-64 and two heads.

    Pictures are averaged over 2×2 to 18×18; the losses are cross-entropies, the scores
    accuracies; the reference point (2, 2) is that of the Pareto set learning
    literature.

    Args:
      name: "multi_mnist", or one of its configurations in `paretax.data.names()`.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.multi_mnist().task_names  # doctest: +SKIP
      ('left', 'right')

    Cost: 250 MB of memory for the pictures.
    """
    loaded = load_of("multi_mnist", name, data_dir)

    def network(seed):
        return models.Perceptron((18, 18), _WIDTHS, rngs=nnx.Rngs(seed))

    _, apply = models.as_functions(network(0))

    def init(key):
        return models.as_functions(network(key))[0]

    def losses(params, batch):
        logits = apply(params, batch["image"] / 255.0)
        labels = batch["label"].T
        rows = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return rows.mean(axis=1)

    def scores(params, batch):
        return _accuracies(apply(params, batch["image"] / 255.0), batch)

    def arrays(split):
        image = np.asarray(split.image[:examples])
        pooled = image.reshape(-1, 18, 2, 18, 2).mean(axis=(2, 4), dtype=np.float32)
        return {
            "image": pooled.round().astype(np.uint8),
            "label": split.label[:examples],
        }

    return Task(
        name=loaded.name.replace("/", "_"),
        init=init,
        losses=losses,
        scores=scores,
        train=arrays(loaded.train),
        validation=arrays(loaded.validation),
        test=arrays(loaded.test),
        task_names=loaded.task_names,
        reference=(_REFERENCE, _REFERENCE),
        specs=loaded.tasks,
        parts=_parts(),
    )


def _accuracies(logits, batch):
    hits = jnp.argmax(logits, axis=-1) == batch["label"].T
    return hits.astype(jnp.float32).mean(axis=1)


def _parts():
    """The same perceptron taken apart."""
    return perceptron_parts(
        18 * 18,
        _WIDTHS,
        10,
        read=lambda batch: (batch["image"] / 255.0).reshape(-1, 18 * 18),
        loss=optax.softmax_cross_entropy_with_integer_labels,
        targets=lambda batch: batch["label"].T,
        scores=_accuracies,
    )
