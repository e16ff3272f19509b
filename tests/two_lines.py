"""A user's own task in thirty lines: fit a falling and a rising line with one model.

Run it by `paretax front two_lines:task`.
"""

import jax.numpy as jnp
import numpy as np

from paretax import experiments


def points(seed, n):
    x = np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)
    return {"x": x, "y": np.stack([1 - x, 1 + x], axis=1)}


def init(key):
    del key
    return {"offset": jnp.zeros(()), "slope": jnp.zeros(())}


def losses(params, batch):
    guess = params["offset"] + params["slope"] * batch["x"]
    return jnp.mean((guess[:, None] - batch["y"]) ** 2, axis=0)


task = experiments.Task(
    name="two_lines",
    init=init,
    losses=losses,
    scores=None,
    train=points(0, 512),
    validation=points(1, 100),
    test=points(2, 100),
    task_names=("falling", "rising"),
    reference=(2.0, 2.0),
)
