"""What is reported of a task: its metric, from the data set's definition."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from paretax import data, metrics
from paretax.experiments import Task
from paretax.experiments._passes import examples_at_once

__all__ = ["Measure", "evaluator", "measures"]

_EXAMPLES_AT_ONCE = 1024


class Measure(NamedTuple):
    """One task's metric.

    Attributes:
      task: its name.
      metric: accuracy, AUC, MAE, MSE (of standardized labels), score or loss.
      unit: of the metric; empty for a share.
      higher_is_better: the direction in which it improves.
    """

    task: str
    metric: str
    unit: str
    higher_is_better: bool


def measures(task: Task) -> tuple[Measure, ...]:
    """The metric of each task.

    That of the data set's definition; R² becomes the squared error, since a relative
    gain over an R² near 0 says nothing. A task of one's own has its scores, or else its
    losses.

    Args:
      task: an `experiments.Task`.

    Returns:
      m of them.

    Cost: none.
    """
    if task.specs:
        return tuple(_of_spec(spec) for spec in task.specs)
    name, better = ("score", True) if task.scores else ("loss", False)
    return tuple(Measure(each, name, "", better) for each in task.task_names)


def _of_spec(spec: data.TaskSpec) -> Measure:
    if spec.metric == "R2":
        return Measure(spec.name, "MSE", "", False)
    return Measure(spec.name, spec.metric, spec.unit, spec.higher_is_better)


def evaluator(
    task: Task,
) -> Callable[[PyTree, PyTree], tuple[Float[Array, " m"], Float[Array, " m"]]]:
    """`evaluate(params, split) -> (losses [m], metrics [m])`, to be compiled.

    Args:
      task: an `experiments.Task`.

    Returns:
      A function of a model's parameters and of a whole split; some examples at once,
      so that activations fit in memory. Where the specs say that labels may be missing
      and the split has `known`, bool [n, m], means and AUC are over the known ones.

    Cost: one forward pass over the split.
    """
    named = measures(task)
    masked = any(spec.missing == "masked" for spec in task.specs)
    masked &= isinstance(task.train, dict) and "known" in task.train

    def example(params, rows):
        one = jax.tree.map(lambda leaf: leaf[None], rows)
        scores = task.scores(params, one) if task.scores else None
        outputs = task.outputs(params, one)[:, 0] if task.outputs else None
        return task.losses(params, one), scores, outputs

    def evaluate(params, split):
        losses, scores, outputs = jax.lax.map(
            lambda rows: example(params, rows),
            split,
            batch_size=examples_at_once(split, _EXAMPLES_AT_ONCE),
        )
        known = split["known"] if masked else None
        found = []
        for i, measure in enumerate(named):
            there = None if known is None else known[:, i]
            if measure.metric == "AUC":
                found.append(_auc(outputs[:, i], split["label"][:, i], there))
            elif measure.metric == "MAE":
                found.append(-_mean(scores[:, i], there))
            elif measure.metric in ("MSE", "loss"):
                found.append(_mean(losses[:, i], there))
            else:
                found.append(_mean(scores[:, i], there))
        return _mean(losses, known), jnp.stack(found)

    return evaluate


def _mean(rows, known):
    """Over the examples that have the label; NaN where none has."""
    if known is None:
        return rows.mean(axis=0)
    return jnp.where(known, rows, 0).sum(axis=0) / known.sum(axis=0)


def _auc(outputs, labels, known):
    """Over the examples that have the label.

    The u others become negatives below all. Each positive is above them, so that the
    area is (area · n + u) / (n + u), n the known negatives.
    """
    if known is None:
        return metrics.auc(outputs, labels)
    u, n = (~known).sum(), (known & (labels == 0)).sum()
    lowest = jnp.where(known, outputs, -jnp.inf)
    return (metrics.auc(lowest, jnp.where(known, labels, 0)) * (n + u) - u) / n
