"""CelebA as a task: attributes of a face, a residual trunk and one head each."""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from paretax import models
from paretax.experiments._tabular import by_specs, load_of
from paretax.experiments._task import Parts, Task

__all__ = ["CELEB_A_9", "celeb_a"]

CELEB_A_9 = (
    "5_o_Clock_Shadow", "Black_Hair", "Blond_Hair", "Brown_Hair", "Goatee", "Mustache",
    "No_Beard", "Rosy_Cheeks", "Wearing_Hat",
)  # fmt: skip
"""The nine attributes of CelebA-9, on which task groups are compared."""


def celeb_a(
    *,
    attributes: Sequence[str] | None = None,
    blocks: Sequence[int] = (2, 2, 2, 2),
    width: int = 64,
    examples: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Task:
    """CelebA: attributes of a face, `models.ResNet` and a linear head for each.

    Binary cross-entropies of pictures in [0, 1]; the scores are accuracies. The
    reference point is the entropy of each attribute in train.

    Args:
      attributes: which, in the order of the tasks; None for all 40. `CELEB_A_9` are
        the nine of the literature on task groups.
      blocks: basic blocks of each stage of the trunk, as in `models.ResNet`.
      width: channels of its first stage.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task` with parts. Prepares the data at first use.

    Raises:
      ValueError: an attribute that CelebA has not, or one given twice; no attributes;
        as `models.ResNet`.
      And as `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> nine = experiments.CELEB_A_9
      >>> experiments.celeb_a(attributes=nine).task_names[0]  # doctest: +SKIP
      '5_o_Clock_Shadow'

    Cost: 11.2 million parameters by default; `experiments.group` holds all pictures on
    the device, 2.5 GB.

    Reference: the nine are those of Gao et al., "DMTG: One-Shot Differentiable
    Multi-Task Grouping", ICML 2024, arXiv:2407.05082. Departures from its public code:
    the trunk is `models.ResNet` with group normalization and the mean over all pixels,
    where the code has one residual block of 64 channels with batch normalization and
    14,400 features; a head has one output and a binary cross-entropy, where it has two
    and a cross-entropy, which is the same family of functions.
    """
    loaded = load_of("celeb_a", "celeb_a", data_dir)
    if attributes is not None:
        loaded = _only(loaded, attributes)
    parts = _parts(blocks, width)
    init, outputs = _whole(parts, len(loaded.tasks))
    specs = tuple(spec._replace(metric="accuracy") for spec in loaded.tasks)
    return by_specs(
        loaded._replace(tasks=specs),
        ("image",),
        init=init,
        outputs=outputs,
        examples=examples,
        parts=parts,
    )


def _only(loaded, attributes):
    """The data set with these attributes alone, in this order."""
    columns = _columns(attributes, loaded.task_names)

    def labels(split):
        return split._replace(label=np.asarray(split.label)[:, columns])

    return loaded._replace(
        name=f"celeb_a_{len(columns)}",
        train=labels(loaded.train),
        validation=labels(loaded.validation),
        test=labels(loaded.test),
        task_names=tuple(loaded.task_names[c] for c in columns),
        tasks=tuple(loaded.tasks[c] for c in columns),
    )


def _columns(attributes, names):
    """Where the attributes stand among the names."""
    wanted = [attributes] if isinstance(attributes, str) else list(attributes)
    odd = [name for name in wanted if name not in names]
    if odd or not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(
            f"attributes: expected different ones of {', '.join(names)}, got "
            f"{odd or wanted}."
        )
    return [names.index(name) for name in wanted]


def _parts(blocks, width):
    features = width * 2 ** (len(blocks) - 1)

    def trunk(seed):
        return models.ResNet(blocks=blocks, width=width, rngs=nnx.Rngs(seed))

    def head(seed):
        return nnx.Linear(features, 1, rngs=nnx.Rngs(seed))

    def applied(make):
        return models.as_functions(nnx.eval_shape(lambda: make(0)))[1]  # no numbers

    apply_trunk, apply_head = applied(trunk), applied(head)
    return Parts(
        init_trunk=lambda key: models.as_functions(trunk(key))[0],
        init_head=lambda key: models.as_functions(head(key))[0],
        trunk=lambda params, batch: apply_trunk(params, batch["image"] / 255.0),
        head=lambda params, features: apply_head(params, features)[..., 0],
        loss=optax.sigmoid_binary_cross_entropy,
        targets=lambda batch: batch["label"].T,
        scores=_accuracies,
    )


def _whole(parts: Parts, num_tasks: int):
    """`init(key)` and `outputs(params, batch)`, [m, n], of one trunk for all tasks."""

    def init(key):
        first, second = jax.random.split(key)
        heads = jax.vmap(parts.init_head)(jax.random.split(second, num_tasks))
        return {"trunk": parts.init_trunk(first), "heads": heads}

    def outputs(params, batch):
        features = parts.trunk(params["trunk"], batch)
        return jax.vmap(parts.head, (0, None))(params["heads"], features)

    return init, outputs


def _accuracies(outputs, batch):
    hits = (outputs > 0) == (batch["label"].T > 0)
    return hits.astype(jnp.float32).mean(axis=1)
