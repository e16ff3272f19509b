"""A perceptron taken apart: its hidden layers are a trunk, one linear layer a head."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from paretax import models
from paretax.experiments._task import Parts

__all__ = ["perceptron_parts"]


def perceptron_parts(
    size: int,
    widths: Sequence[int],
    outputs: int,
    *,
    read: Callable[[Any], Any],
    loss: Callable,
    targets: Callable,
    scores: Callable,
) -> Parts:
    """The parts of `models.Perceptron((size,), widths)`, drawn by the same laws.

    `read(batch)` is what it sees, shape [n, size]; the rest as in `Parts`.
    """
    sizes = (size, *widths)

    def trunk(seed):
        rngs = nnx.Rngs(seed)
        layers = []
        for n_in, n_out in itertools.pairwise(sizes):
            kernel = nnx.initializers.he_normal()
            layers += [nnx.Linear(n_in, n_out, kernel_init=kernel, rngs=rngs)]
            layers += [jax.nn.relu]
        return nnx.Sequential(*layers)

    def head(seed):
        return nnx.Linear(sizes[-1], outputs, rngs=nnx.Rngs(seed))

    apply_trunk = models.as_functions(trunk(0))[1]
    apply_head = models.as_functions(head(0))[1]
    return Parts(
        init_trunk=lambda key: models.as_functions(trunk(key))[0],
        init_head=lambda key: models.as_functions(head(key))[0],
        trunk=lambda params, batch: apply_trunk(params, read(batch)),
        head=apply_head,
        loss=loss,
        targets=targets,
        scores=scores,
    )
