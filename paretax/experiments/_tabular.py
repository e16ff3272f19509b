"""Data sets of numbers as tasks: one perceptron, its losses and scores by the specs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Num, PyTree

from paretax import data, models
from paretax.experiments._perceptron import perceptron_parts
from paretax.experiments._task import Parts, Task

__all__ = [
    "Inputs",
    "by_specs",
    "constant_losses",
    "known_labels",
    "known_means",
    "load_of",
    "tabular",
]


class Inputs(NamedTuple):
    """What a network sees of a split.

    Attributes:
      fields: the arrays of a split that a batch holds besides its labels.
      read: `read(batch) -> x` of shape [n, size].
      size: numbers in a vector.
    """

    fields: tuple[str, ...]
    read: Callable[[PyTree], Float[Array, "n d"]]
    size: int


def load_of(family: str, name: str, data_dir) -> data.Dataset:
    """The data set of that name, which must be one of the family.

    Raises:
      ValueError: an unknown name, or one of another family.
    """
    data.status(name, data_dir)  # an unknown name is answered with the nearest
    if name.split("/")[0] != family:
        raise ValueError(
            f"name: expected {family} or a configuration of it, got {name!r}; "
            "experiments.by_name takes any."
        )
    return data.load(name, data_dir=data_dir)


def tabular(
    loaded: data.Dataset,
    widths: Sequence[int],
    inputs: Inputs | None = None,
    *,
    examples: int | None = None,
) -> Task:
    """A perceptron of these widths with one linear head of one output a task.

    Losses and scores are those that the specs name: binary cross-entropy with accuracy,
    also where the metric is the AUC, which is no mean over examples; squared error of
    standardized labels with minus the mean absolute error in the spec's unit, or with
    R². The reference point is the loss of the best constant prediction on train.

    Where a spec says that labels may be missing, means are over the labels that a task
    has in the batch, 0 with no gradient where it has none; `batch["known"]`, bool [n,
    m], says which there are, and a missing one is 0 in `batch["label"]`. The evaluation
    of `paretax.bench` is over the known labels of the whole split, exactly. That of
    `front` and `group` averages chunks of 2,048 examples, the last one shorter, by
    their numbers of examples, not of known labels: exact for splits that fit in one.
    """
    if inputs is None:
        size = loaded.train.features.shape[1]
        inputs = Inputs(("features",), lambda batch: batch["features"], size)
    specs = loaded.tasks

    def network(seed):
        return models.Perceptron(
            (inputs.size,), widths, num_tasks=len(specs), num_classes=1,
            rngs=nnx.Rngs(seed),
        )  # fmt: skip

    _, apply = models.as_functions(network(0))
    return by_specs(
        loaded,
        inputs.fields,
        init=lambda key: models.as_functions(network(key))[0],
        outputs=lambda params, batch: apply(params, inputs.read(batch))[..., 0],
        examples=examples,
        parts=_parts(inputs, widths, specs),
    )


def by_specs(
    loaded: data.Dataset,
    fields: Sequence[str],
    *,
    init: Callable[[Array], PyTree],
    outputs: Callable[[PyTree, PyTree], Float[Array, "m n"]],
    examples: int | None = None,
    parts: Parts | None = None,
) -> Task:
    """Any network with one output a task; losses, scores and reference as `tabular`.

    `fields` are the arrays of a split that a batch holds besides its labels; the rest
    as in `Task`.
    """
    loss, score = _loss(loaded.tasks), _score(loaded.tasks)
    masked = any(spec.missing == "masked" for spec in loaded.tasks)

    def arrays(split) -> dict[str, Any]:
        found = {f: getattr(split, f)[:examples] for f in (*fields, "label")}
        if masked:
            known = known_labels(loaded.tasks, found["label"])
            label = np.where(known, found["label"], 0).astype(found["label"].dtype)
            found |= {"label": label, "known": known}
        return found

    def means(each, params, batch):
        return known_means(each(outputs(params, batch), batch["label"].T), batch)

    return Task(
        name=loaded.name.replace("/", "_"),
        init=init,
        losses=functools.partial(means, loss),
        scores=functools.partial(means, score),
        train=arrays(loaded.train),
        validation=arrays(loaded.validation),
        test=arrays(loaded.test),
        task_names=loaded.task_names,
        reference=constant_losses(loaded),
        specs=loaded.tasks,
        outputs=outputs,
        parts=parts,
    )


def known_means(rows, batch):
    """The mean of each task's rows [m, n] over the examples that have its label.

    `batch["known"]`, bool [n, m], says which; all have where a batch lacks it.
    """
    if "known" not in batch:
        return rows.mean(axis=1)
    known = batch["known"].T
    return jnp.where(known, rows, 0).sum(axis=1) / jnp.maximum(known.sum(axis=1), 1)


def _parts(inputs, widths, specs):
    """The same perceptron taken apart."""
    loss, score = _loss(specs), _score(specs)

    def rows(output, target):
        if not isinstance(target, dict):
            return loss(output[..., 0], target)
        known = target["known"]  # the mean of these rows is that over the known ones
        share = len(known) / jnp.maximum(known.sum(), 1)
        return jnp.where(known, loss(output[..., 0], target["label"]), 0) * share

    def targets(batch):
        if "known" not in batch:
            return batch["label"].T
        return {name: batch[name].T for name in ("label", "known")}

    return perceptron_parts(
        inputs.size,
        widths,
        1,
        read=inputs.read,
        loss=rows,
        targets=targets,
        scores=lambda out, batch: known_means(
            score(out[..., 0], batch["label"].T), batch
        ),
    )


def known_labels(
    specs: Sequence[data.TaskSpec], label: Num[np.ndarray, "n m"]
) -> Bool[np.ndarray, "n m"]:
    """Which labels there are; missing ones are NaN, or −1 among classes."""
    classes = np.array([spec.loss != "squared error" for spec in specs])
    return ~(np.isnan(label) | ((label == -1) & classes))


def constant_losses(loaded: data.Dataset) -> tuple[float, ...]:
    """Each task's loss on train when the best constant is predicted.

    The entropy of the label for cross-entropies, the variance of it for squared errors:
    a model that is no better has learned nothing of that task. Over known labels.
    """
    label = np.asarray(loaded.train.label, np.float64)
    out = []
    there = known_labels(loaded.tasks, label)
    for spec, whole, known in zip(loaded.tasks, label.T, there.T, strict=True):
        column = whole[known] if spec.missing == "masked" else whole
        if spec.loss == "squared error":
            value = column.var()
        else:
            shares = np.unique(column, return_counts=True)[1] / len(column)
            value = -(shares * np.log(shares)).sum()
        out.append(round(float(value), 6))
    return tuple(out)


def _loss(specs):
    """`loss(outputs [m, n], labels [m, n]) -> [m, n]`."""
    kinds = {spec.loss for spec in specs}
    if kinds == {"binary cross-entropy"}:
        return optax.sigmoid_binary_cross_entropy
    if kinds == {"squared error"}:
        return lambda output, label: (output - label) ** 2
    raise ValueError(
        "tasks: expected all of one loss, binary cross-entropy or squared error, got "
        f"{sorted(kinds)}."
    )


def _score(specs):
    """`score(outputs [m, n], labels [m, n]) -> [m, n]`, higher is better."""
    if specs[0].loss == "binary cross-entropy":
        return lambda output, label: ((output > 0) == (label > 0)).astype(jnp.float32)
    if specs[0].metric == "R2":
        return lambda output, label: 1 - (output - label) ** 2
    scale = np.array([[spec.scale] for spec in specs], np.float32)
    return lambda output, label: -scale * jnp.abs(output - label)
