"""A user's own task in parts: two falling lines share a trunk, a rising one does not.

Run it by `paretax group three_lines:task --groups 2`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from paretax import experiments


def points(seed, n):
    x = np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)
    return {"x": x, "y": np.stack([1 - x, 1.1 - 1.1 * x, 1 + x], axis=1)}


def losses(params, batch):
    return jnp.mean((params - batch["y"]) ** 2, axis=0)


parts = experiments.Parts(
    init_trunk=lambda key: jnp.array([1.0, jax.random.rademacher(key, ()) / 2]),
    init_head=lambda key: jnp.ones(()),
    trunk=lambda w, batch: w[0] + w[1] * batch["x"],
    head=lambda v, line: v * line,
    loss=lambda guess, y: (guess - y) ** 2,
    targets=lambda batch: batch["y"].T,
    scores=lambda guess, batch: jnp.mean(jnp.abs(guess - batch["y"].T) < 0.1, axis=1),
)

task = experiments.Task(
    name="three_lines",
    init=lambda key: jnp.zeros(()),
    losses=losses,
    scores=None,
    train=points(0, 200),
    validation=points(1, 100),
    test=points(2, 100),
    task_names=("falling", "steeper", "rising"),
    reference=(2.0, 2.0, 2.0),
    parts=parts,
)
