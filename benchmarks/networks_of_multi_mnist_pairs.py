"""The networks, losses and arrays of multi_mnist_pairs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from paretax import data, models

MEAN, STD = 0.1307, 0.3081


class Encoder(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = models.PatchConv(1, 10, (5, 5), rngs=rngs)
        self.conv2 = models.PatchConv(10, 20, (5, 5), rngs=rngs)
        self.linear = nnx.Linear(320, 50, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(halve(self.conv1(x[..., None])))
        x = jax.nn.relu(halve(self.conv2(x)))
        return jax.nn.relu(self.linear(x.reshape(x.shape[0], -1)))


class Head(nnx.Module):
    """A classifier 50-50-10, or a reconstructor 50-256-784."""

    def __init__(self, task, rngs):
        width, out = (50, 10) if task[0] == "C" else (256, 784)
        self.hidden = nnx.Linear(50, width, rngs=rngs)
        self.out = nnx.Linear(width, out, rngs=rngs)

    def __call__(self, x):
        return self.out(jax.nn.relu(self.hidden(x)))


class Network(nnx.Module):
    def __init__(self, tasks, rngs):
        self.encoder = Encoder(rngs)
        self.heads = nnx.List([Head(task, rngs) for task in tasks])

    def __call__(self, x):
        features = self.encoder(x)
        return [head(features) for head in self.heads]


def halve(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def load(train, held_out):
    """Normalized pictures, labels and targets: {"train": {"image", "CL", "RL", ...}},
    and under "held_out" validation and test, stacked."""
    rows = ((np.arange(28) + 0.5) * 36 / 28).astype(int)

    def normalized(pixels):
        return jnp.asarray((pixels / np.float32(255) - MEAN) / STD, jnp.float32)

    def split(name, size):
        whole = loaded[name]
        return {
            "image": normalized(whole.image[:size][:, rows][:, :, rows]),
            "CL": jnp.asarray(whole.label[:size, 0]),
            "CR": jnp.asarray(whole.label[:size, 1]),
            "RL": normalized(whole.left[:size]).reshape(size, -1),
            "RR": normalized(whole.right[:size]).reshape(size, -1),
        }

    loaded = data.load_pairs("multi_mnist")
    rest = [split(name, held_out) for name in ("validation", "test")]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rest)
    return {"train": split("train", train), "held_out": stacked}


def functions(tasks):
    """`init(key)`, `losses(params, batch)` and `metrics(params, batch)`, [m] each."""
    _, apply = models.as_functions(Network(tasks, nnx.Rngs(0)))

    def init(key):
        return models.as_functions(Network(tasks, nnx.Rngs(key)))[0]

    def of(params, batch, classify):
        outs = apply(params, batch["image"])
        return jnp.stack(
            [
                classify(out, batch[task]) if task[0] == "C" else mse(out, batch[task])
                for task, out in zip(tasks, outs, strict=True)
            ]
        )

    return (
        init,
        lambda params, batch: of(params, batch, cross_entropy),
        lambda params, batch: of(params, batch, accuracy),
    )


def cross_entropy(logits, label):
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()


def accuracy(logits, label):
    return (jnp.argmax(logits, axis=-1) == label).mean()


def mse(out, target):
    return jnp.mean((out - target) ** 2)
