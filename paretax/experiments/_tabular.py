"""Data sets of numbers as tasks: one perceptron, its losses and scores by the specs."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, PyTree

from paretax import data, models
from paretax.experiments._perceptron import perceptron_parts
from paretax.experiments._task import Parts, Task

__all__ = ["Inputs", "by_specs", "constant_losses", "load_of", "tabular"]


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
        parts=_parts(inputs, widths, _loss(specs), _score(specs)),
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

    def arrays(split) -> dict[str, Any]:
        return {field: getattr(split, field)[:examples] for field in (*fields, "label")}

    return Task(
        name=loaded.name.replace("/", "_"),
        init=init,
        losses=lambda p, batch: loss(outputs(p, batch), batch["label"].T).mean(axis=1),
        scores=lambda p, batch: score(outputs(p, batch), batch["label"].T).mean(axis=1),
        train=arrays(loaded.train),
        validation=arrays(loaded.validation),
        test=arrays(loaded.test),
        task_names=loaded.task_names,
        reference=constant_losses(loaded),
        specs=loaded.tasks,
        outputs=outputs,
        parts=parts,
    )


def _parts(inputs, widths, loss, score):
    """The same perceptron taken apart."""
    return perceptron_parts(
        inputs.size,
        widths,
        1,
        read=inputs.read,
        loss=lambda output, label: loss(output[..., 0], label),
        targets=lambda batch: batch["label"].T,
        scores=lambda out, batch: score(out[..., 0], batch["label"].T).mean(axis=1),
    )


def constant_losses(loaded: data.Dataset) -> tuple[float, ...]:
    """Each task's loss on train when the best constant is predicted.

    The entropy of the label for cross-entropies, the variance of it for squared errors:
    a model that is no better has learned nothing of that task.
    """
    label = np.asarray(loaded.train.label, np.float64)
    out = []
    for spec, column in zip(loaded.tasks, label.T, strict=True):
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
    if any(spec.missing != "refused" for spec in specs):
        raise ValueError("tasks: expected none with missing labels, got some.")
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
