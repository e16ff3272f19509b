"""Tasks for tests of the benchmark: two linear regressions on one linear layer."""

import jax
import jax.numpy as jnp
import numpy as np

from paretax import experiments


def points(seed, n):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, 4)).astype(np.float32)
    noise = draw.normal(size=(n, 2)).astype(np.float32)
    target = np.array([[1, -2], [0, 3], [2, 1], [-1, 1]], np.float32)
    return {"x": x, "y": x @ target + 0.3 * noise}


def init(key):
    trunk = 0.5 * jax.random.normal(key, (4, 3))
    return {"heads": {"a": jnp.ones(3), "b": -jnp.ones(3)}, "trunk": trunk}


def losses(params, batch):
    hidden = batch["x"] @ params["trunk"]
    guess = jnp.stack([hidden @ params["heads"][name] for name in "ab"], axis=1)
    return jnp.mean((guess - batch["y"]) ** 2, axis=0)


task = experiments.Task(
    name="lines",
    init=init,
    losses=losses,
    scores=None,
    train=points(0, 96),
    validation=points(1, 40),
    test=points(2, 40),
    task_names=("a", "b"),
    reference=(9.0, 9.0),
)
