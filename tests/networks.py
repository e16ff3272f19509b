"""Networks by name, for the Gramian engine: what real code is made of, made small.

Each has losses of shape [m] (or a pair with auxiliary output), parameters, arguments,
and the leaves that must be found to enter one product.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


class Network(NamedTuple):
    """One row.

    Attributes:
      losses: `losses(params, *args)`.
      params: its parameters, float64.
      args: its other arguments.
      factored: how many leaves enter exactly one product of the trunk.
      has_aux: whether `losses` returns a pair.
    """

    losses: Callable
    params: Any
    args: tuple
    factored: int
    has_aux: bool = False


def normal(seed: int, *shape: int):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def double(tree):
    """Floating leaves in float64; keys and counters as they are."""

    def one(leaf):
        return jnp.asarray(leaf, float) if leaf.dtype == jnp.float32 else leaf

    return jax.tree.map(one, tree)


def close_trees(actual, expected, rtol=1e-10):
    """Equal to a share of the largest entry of the whole tree."""
    scale = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale),
        actual,
        expected,
    )


def two(y):
    """Two losses that read the same output."""
    return jnp.stack([jnp.mean(y**2), jnp.mean(jnp.sin(3 * y))])


def heads_of(params, h, targets):
    return jnp.stack(
        [
            jnp.mean((h @ w - y) ** 2)
            for w, y in zip(params["heads"], targets, strict=True)
        ]
    )


def perceptron():
    params = {
        "w0": normal(0, 5, 9),
        "b0": normal(1, 9),
        "w1": normal(2, 7, 9),
        "heads": [normal(3 + i, 7, 2) for i in range(3)],
    }

    def losses(p, x, targets):
        h = jax.nn.relu(x @ p["w0"] + p["b0"])
        return heads_of(p, jnp.tanh(h @ p["w1"].T), targets)

    targets = [normal(6 + i, 4, 2) for i in range(3)]
    return Network(losses, params, (normal(9, 4, 5), targets), 2)


def shared_weights():
    """A leaf used twice, a leaf of two heads, a leaf nobody reads, a scaled leaf."""
    params = {
        "twice": normal(0, 5, 5) / 3,
        "two_heads": normal(1, 5, 2),
        "unused": normal(2, 3),
        "scaled": normal(3, 5, 5),
        "scale": normal(4),
    }

    def losses(p, x):
        h = jnp.tanh(x @ p["twice"]) @ p["twice"]
        h = jnp.tanh(h @ (p["scaled"] * p["scale"]))
        a, b = jnp.sin(h) @ p["two_heads"], jnp.cos(h) @ p["two_heads"]
        return jnp.stack([jnp.mean(a**2), jnp.mean(b**2), jnp.sum(p["twice"] ** 2)])

    return Network(losses, params, (normal(9, 4, 5),), 0)


def batched_products():
    """Experts by a batch dimension, a factor pair, and a weight on the left."""
    params = {
        "experts": normal(0, 3, 5, 4),
        "down": normal(1, 4, 2),
        "up": normal(2, 2, 4),
        "left": normal(3, 6, 4),
    }

    def losses(p, x):
        h = jnp.einsum("bi,eio->ebo", x, p["experts"]).mean(0)
        h = jnp.tanh(h) @ (p["down"] @ p["up"])
        return two(jnp.einsum("oi,bi->ob", p["left"], jnp.tanh(h)))

    return Network(losses, params, (normal(9, 4, 5),), 4)


def scanned_blocks():
    """Layers under scan, one of them checkpointed, casts and transposes outside."""
    params = {
        "up": normal(0, 3, 6, 4),
        "down": normal(1, 3, 4, 6) / 2,
        "gain": 1 + normal(2, 3, 4) / 9,
    }

    def losses(p, x):
        @jax.checkpoint
        def block(h, w):
            up, down, gain = w
            return h + jnp.tanh((h * gain) @ up) @ down.T, None

        up = jnp.swapaxes(p["up"], 1, 2)
        h, _ = jax.lax.scan(block, x, (up, p["down"], p["gain"]))
        return two(h)

    return Network(losses, params, (normal(9, 5, 4),), 2)


def recurrent():
    """One matrix in every round of a scan, forwards and in reverse, and nested."""
    params = {"r": normal(0, 4, 4) / 2, "i": normal(1, 3, 4), "n": normal(2, 4, 4) / 3}

    def losses(p, x):
        def cell(h, x):
            h = jnp.tanh(h @ p["r"] + x @ p["i"])
            h, _ = jax.lax.scan(
                lambda h, _: (jnp.sin(h @ p["n"]), None), h, None, length=2
            )
            return h, h

        _, ys = jax.lax.scan(cell, jnp.zeros((2, 4)), x, reverse=True)
        return two(ys)

    return Network(losses, params, (normal(9, 5, 2, 3),), 3)


def control_flow():
    """Products inside cond, custom derivatives and an unrolled dynamic index."""
    params = {"c": normal(0, 4, 4), "v": normal(1, 4, 4), "after": normal(2, 4, 4)}

    @jax.custom_vjp
    def square(x, w):
        return (x @ w) ** 2

    def forward(x, w):
        return square(x, w), (x, w)

    def backward(kept, g):
        x, w = kept
        g = 2 * (x @ w) * g
        return g @ w.T, x.T @ g

    square.defvjp(forward, backward)

    def losses(p, x):
        h = jax.lax.cond(x.sum() > -1e9, lambda: x @ p["c"], lambda: x)
        return two(square(jnp.tanh(h), p["v"]) @ p["after"])

    return Network(losses, params, (normal(9, 3, 4) / 3,), 1)


def convolutions():
    """Strides, padding, dilation, groups, another layout, and a kernel in a scan."""
    params = {
        "a": normal(0, 3, 2, 3, 4),
        "b": normal(1, 3, 3, 2, 6),
        "c": normal(2, 5, 6, 2),
        "d": normal(3, 1, 1, 6, 6) / 3,
    }

    def losses(p, x):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, p["a"], (2, 1), [(1, 0), (2, 1)], dimension_numbers=layout
        )
        x = jax.lax.conv_general_dilated(
            jnp.tanh(x), p["b"], (1, 1), "SAME", rhs_dilation=(1, 2),
            feature_group_count=2, dimension_numbers=layout,
        )  # fmt: skip

        def again(x, _):
            y = jax.lax.conv_general_dilated(
                x, p["d"], (1, 1), "SAME", dimension_numbers=layout
            )
            return jnp.tanh(y), None

        x, _ = jax.lax.scan(again, x, None, length=2)
        line = jnp.swapaxes(x.reshape(x.shape[0], -1, 6), 1, 2)
        y = jax.lax.conv_general_dilated(
            line, p["c"].transpose(2, 1, 0), (2,), [(1, 1)], lhs_dilation=(2,)
        )
        return two(y)

    return Network(losses, params, (normal(9, 2, 7, 6, 3),), 4)


def look_ups():
    """Embeddings with repeated, dropped and clipped numbers."""
    params = {
        "plain": normal(0, 9, 4),
        "dropped": normal(1, 5, 4),
        "clipped": normal(2, 5, 4),
    }

    def losses(p, ids):
        h = p["plain"][ids]
        h = h + p["dropped"].at[ids].get(mode="fill", fill_value=0)
        return two(h * p["clipped"].at[ids - 1].get(mode="clip"))

    ids = jnp.asarray([[0, 8, 8], [1, 1, 4]])
    return Network(losses, params, (ids,), 3)


def joined_losses():
    """Losses put together in other ways than one stack."""
    params = {"w": normal(0, 4, 4), "v": normal(1, 4), "u": normal(2, 3)}

    def losses(p, x):
        h = jnp.tanh(x @ p["w"])
        vector = jnp.concatenate([h.mean(0)[:2], (p["v"] @ p["v"])[None]])
        weighted = 2 * vector + jnp.stack([h.sum(), p["u"].sum(), jnp.sum(h**2)])
        pair = jnp.stack([jnp.sum(p["u"] ** 3), jnp.prod(p["u"])])
        return jnp.concatenate([weighted / 3, pair, (pair * 2).sum()[None]])

    return Network(losses, params, (normal(9, 4, 4),), 1)


def from_nnx(make, split, call, args, factored):
    """A flax nnx module in functional form; what is no parameter is an argument."""
    graph, params, rest = nnx.split(make, nnx.Param, ...)

    def losses(p, rest, *args):
        model = nnx.merge(graph, p, rest, copy=True)
        y = call(model, *args)
        if not split:
            return two(y)
        return two(y), nnx.split(model, nnx.Param, ...)[2]

    return Network(losses, double(params), (double(rest), *args), factored, split)


def attention(query, key, value, **options):
    """Attention in the type of its inputs, where flax's own rounds to float32."""
    del options
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)


class Attention(nnx.Module):
    """Embedding, attention, layer norm, perceptron: one block of a transformer."""

    def __init__(self, rngs):
        self.table = nnx.Embed(11, 8, dtype=jnp.float64, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(
            2, 8, decode=False, rngs=rngs, attention_fn=attention
        )
        self.up = nnx.Linear(8, 12, rngs=rngs)
        self.down = nnx.Linear(12, 8, rngs=rngs)

    def __call__(self, ids):
        h = self.table(ids)
        h = h + self.attend(self.norm(h))
        return h + self.down(nnx.gelu(self.up(h)))


class Convolutional(nnx.Module):
    """Convolution, batch norm, dropout."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        h = self.drop(nnx.relu(self.norm(self.conv(x))))
        return self.out(h.mean((1, 2)))


class Recurrent(nnx.Module):
    """A recurrent cell of flax in jax's scan."""

    def __init__(self, rngs):
        self.cell = nnx.LSTMCell(3, 4, rngs=rngs)

    def __call__(self, x):
        zero = jnp.zeros((x.shape[0], 4))
        _, ys = jax.lax.scan(self.cell, (zero, zero), x.swapaxes(0, 1))
        return ys


def nnx_attention():
    ids = jnp.asarray([[1, 5, 5], [0, 10, 2]])
    return from_nnx(Attention(nnx.Rngs(0)), False, Attention.__call__, (ids,), 7)


def nnx_train():
    model = Convolutional(nnx.Rngs(0))
    model.train()
    return from_nnx(model, True, Convolutional.__call__, (normal(9, 3, 5, 5, 2),), 2)


def nnx_eval():
    model = Convolutional(nnx.Rngs(0))
    model.eval()
    return from_nnx(model, False, Convolutional.__call__, (normal(9, 3, 5, 5, 2),), 2)


def nnx_recurrent():
    args = (normal(9, 2, 4, 3),)
    return from_nnx(Recurrent(nnx.Rngs(0)), False, Recurrent.__call__, args, 8)


def linen_perceptron():
    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            h = linen.LayerNorm()(linen.Dense(6)(x))
            return linen.Dense(3)(linen.silu(h))

    model, x = Model(), normal(9, 4, 5)
    params = double(model.init(jax.random.key(0), x))
    return Network(lambda p, x: two(model.apply(p, x)), params, (x,), 2)


NETWORKS = (
    perceptron,
    shared_weights,
    batched_products,
    scanned_blocks,
    recurrent,
    control_flow,
    convolutions,
    look_ups,
    joined_losses,
    nnx_attention,
    nnx_train,
    nnx_eval,
    nnx_recurrent,
    linen_perceptron,
)
