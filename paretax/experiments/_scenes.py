"""NYUv2 and Cityscapes as tasks: what, how far and how inclined each pixel is."""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from paretax import models
from paretax.experiments._tabular import known_means, load_of
from paretax.experiments._task import Task

__all__ = ["cityscapes", "nyuv2"]

_WIDTHS = (64, 128, 256, 512, 512)
_OWN = ("down_masks", "heads", "up_masks")  # of SegNetMTAN, each task's own
_AT_ONCE = 8  # pictures of a large batch whose activations are held


def nyuv2(
    *,
    widths: Sequence[int] = _WIDTHS,
    examples: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Task:
    """NYUv2: segmentation of rooms, their depth and normals, by `models.SegNetMTAN`.

    Of a picture, the losses are the means over the pixels that have a label: the
    cross-entropy of 13 classes, the absolute error of the depth in m, and 1 − the
    cosine between normals. The scores are the share of pixels in their right class, −1
    times the mean absolute error in m, and −1 times the mean angle in degrees. A batch
    has the means over its pictures; a picture without any label of a task leaves the
    means of that task, by `batch["known"]`. The reference point are the losses on train
    of a network whose outputs are all 0.

    Args:
      widths: channels of each stage of the network, at least one; 2^stages divides the
        288 and 384 pixels of the sides.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task` without parts. Its parameters are a dict: `heads`, each task's masks and
      head, and `trunk`. Prepares the data at first use.

    Raises:
      ValueError: as `models.SegNetMTAN`.
      And as `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.nyuv2(examples=8).task_names  # doctest: +SKIP
      ('segmentation', 'depth', 'normal')

    Cost: 44 million parameters by default; 5 GB of memory for all pictures. `front`
    evaluates 8 pictures at once; `paretax.bench` holds the activations of 1,024, so
    there it takes an accelerator, narrow widths or few examples.

    Reference: Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention",
    CVPR 2019, arXiv:1803.10704, in the set-up of Navon et al., "Multi-Task Learning as
    a Bargaining Game", ICML 2022, arXiv:2202.01017. Departures: a batch's mean is that
    of its pictures' means, where the code takes it over all pixels that have a label in
    the batch; no random crops and flips; of the metrics the share of right pixels, the
    absolute error and the mean angle, without mIoU, which is no mean over pictures,
    relative errors, medians and shares of angles; those of `models.SegNetMTAN`.
    """
    return _dense("nyuv2", widths, examples, data_dir)


def cityscapes(
    *,
    widths: Sequence[int] = _WIDTHS,
    examples: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Task:
    """Cityscapes: segmentation of streets in 7 classes, and inverse depth.

    Losses, scores, network and reference point as in `nyuv2`, without normals; depth
    has no unit.

    Args:
      widths: channels of each stage of the network, at least one; 2^stages divides the
        128 and 256 pixels of the sides.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task` as that of `nyuv2`. Prepares the data at first use.

    Raises:
      As `nyuv2`.

    Example:
      >>> from paretax import experiments
      >>> experiments.cityscapes(examples=8).task_names  # doctest: +SKIP
      ('segmentation', 'depth')

    Cost: 2.3 GB of memory for all pictures; else as `nyuv2`.

    Reference and departures: as `nyuv2`.
    """
    return _dense("cityscapes", widths, examples, data_dir)


def _dense(name, widths, examples, data_dir) -> Task:
    loaded = load_of(name, name, data_dir)
    kinds = loaded.task_names
    sizes = [spec.outputs for spec in loaded.tasks]

    def network(seed):
        return models.SegNetMTAN(sizes, widths=widths, rngs=nnx.Rngs(seed))

    _, apply = models.as_functions(nnx.eval_shape(lambda: network(0)))

    def init(key):
        params = models.as_functions(network(key))[0]
        heads = {part: params.pop(part) for part in _OWN}
        return {"heads": heads, "trunk": params}

    def means(each, params, batch):
        def rows(some):
            maps = apply({**params["heads"], **params["trunk"]}, some["image"])
            pairs = zip(kinds, maps, strict=True)
            return jnp.stack([each[kind](out, some[kind]) for kind, out in pairs])

        if len(batch["image"]) <= _AT_ONCE:
            return known_means(rows(batch), batch)
        one = lambda some: rows(jax.tree.map(lambda leaf: leaf[None], some))[:, 0]
        return known_means(jax.lax.map(one, batch, batch_size=_AT_ONCE).T, batch)

    train = _arrays(loaded.train, kinds, examples)
    return Task(
        name=name,
        init=init,
        losses=lambda params, batch: means(_LOSSES, params, batch),
        scores=lambda params, batch: means(_SCORES, params, batch),
        train=train,
        validation=_arrays(loaded.validation, kinds, examples),
        test=_arrays(loaded.test, kinds, examples),
        task_names=kinds,
        reference=_of_zeros(train, dict(zip(kinds, sizes, strict=True))),
        specs=tuple(_spec(spec) for spec in loaded.tasks),
    )


def _spec(spec):
    """With the metric of the scores, which are means over pictures."""
    metric = "accuracy" if spec.name == "segmentation" else "MAE"
    return spec._replace(metric=metric)


def _arrays(split, kinds, examples):
    """A split with 0 for what is missing but in classes, and normals of length 1."""
    found = {"image": split.image[:examples]}
    known = []
    for kind in kinds:
        values = np.asarray(getattr(split, kind)[:examples])
        if kind != "segmentation":
            values = np.nan_to_num(values)  # a copy
        if kind == "normal":
            length = np.linalg.norm(values, axis=-1, keepdims=True)
            values /= np.where(length > 0, length, 1)
        found[kind] = values
        known.append(np.array([_there(kind, row).any() for row in values]))
    return {**found, "known": np.stack(known, axis=1)}


def _there(kind, values):
    """The pixels [..., h, w] that have a label."""
    return values >= 0 if kind == "segmentation" else (values != 0).any(axis=-1)


def _of_zeros(train, sizes):
    """The losses of a network whose outputs are all 0, picture by picture."""
    totals = []
    for i, (kind, size) in enumerate(sizes.items()):
        loss = jax.jit(_LOSSES[kind])
        zero = jnp.zeros((1, *train["image"].shape[1:3], size))
        rows = [
            float(loss(zero, jnp.asarray(row[None]))[0])
            for row, known in zip(train[kind], train["known"][:, i], strict=True)
            if known
        ]
        totals.append(round(float(np.mean(rows)), 6))
    return tuple(totals)


def _over_pixels(kind, values, labels):
    """The mean of values [n, h, w] over each picture's pixels that have a label."""
    there = _there(kind, labels)
    total = jnp.where(there, values, 0).sum(axis=(1, 2))
    return total / jnp.maximum(there.sum(axis=(1, 2)), 1)


def _cross_entropy(logits, labels):
    values = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.maximum(labels, 0)
    )
    return _over_pixels("segmentation", values, labels)


def _hits(logits, labels):
    hits = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return _over_pixels("segmentation", hits, labels)


def _error(depth, labels):
    return _over_pixels("depth", jnp.abs(depth - labels)[..., 0], labels)


def _cosine(normal, labels):
    """With labels of length 1; 0 for a normal of length 0."""
    squares = (normal**2).sum(axis=-1)
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1))  # a root without slope at 0
    return (normal * labels).sum(axis=-1) / length


def _aside(normal, labels):
    return _over_pixels("normal", 1 - _cosine(normal, labels), labels)


def _angle(normal, labels):
    angle = jnp.arccos(jnp.clip(_cosine(normal, labels), -1, 1))
    return _over_pixels("normal", jnp.rad2deg(angle), labels)


_LOSSES = {"segmentation": _cross_entropy, "depth": _error, "normal": _aside}
_SCORES = {
    "segmentation": _hits,
    "depth": lambda depth, labels: -_error(depth, labels),
    "normal": lambda normal, labels: -_angle(normal, labels),
}
