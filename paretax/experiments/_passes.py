"""Passes over a split: batches in shuffled order, and means over all of it."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

__all__ = ["examples_at_once", "mean_over", "shuffled", "shuffled_steps"]

_CHUNK = 2048
_BYTES_AT_ONCE = 2**24
_Means = TypeVar("_Means")


def shuffled(key: Array, examples: int, batch_size: int) -> Int[Array, "steps batch"]:
    """Rows of one pass; the last ones that fill no batch are left out."""
    steps = examples // batch_size
    order = jax.random.permutation(key, examples)[: steps * batch_size]
    return order.reshape(steps, batch_size)


def shuffled_steps(
    key: Array, first: int | Array, count: int, examples: int, batch_size: int
) -> Int[Array, "count batch"]:
    """Rows of the steps first, first + 1, ...: pass after pass, each in its own order.

    The rows of a step depend on the key and its number only, not on where a call began.
    """
    steps = examples // batch_size
    passes = first // steps + jnp.arange(-(-count // steps) + 1)
    one = lambda number: shuffled(jax.random.fold_in(key, number), examples, batch_size)
    rows = jax.vmap(one)(passes).reshape(-1, batch_size)
    return jax.lax.dynamic_slice_in_dim(rows, first % steps, count)


def examples_at_once(split: PyTree, most: int) -> int:
    """How many examples a forward pass takes: fewer of large pictures.

    Their inputs take up to 16 MiB; activations may take a hundred times that.
    """
    leaves = jax.tree.leaves(split)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) // len(leaves[0])
    return max(1, min(most, len(leaves[0]), _BYTES_AT_ONCE // max(size, 1)))


def mean_over(means: Callable[[PyTree], _Means], split: PyTree) -> _Means:
    """`means(batch)`, a pytree of means over a batch, over a whole split.

    Over equal chunks and a last shorter one, weighted by their lengths.
    """
    examples = len(jax.tree.leaves(split)[0])
    chunk = examples_at_once(split, _CHUNK)
    whole = examples // chunk * chunk

    def body(total, chunked):
        return jax.tree.map(jnp.add, total, means(chunked)), None

    chunks = jax.tree.map(
        lambda leaf: leaf[:whole].reshape(-1, chunk, *leaf.shape[1:]), split
    )
    shapes = jax.eval_shape(means, jax.tree.map(lambda leaf: leaf[0], chunks))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, _ = jax.lax.scan(body, zero, chunks)
    if whole == examples:
        return jax.tree.map(lambda t: t * chunk / examples, total)
    rest = means(jax.tree.map(lambda leaf: leaf[whole:], split))
    return jax.tree.map(
        lambda t, r: (t * chunk + r * (examples - whole)) / examples, total, rest
    )
