"""Batches of arrays that lie on the device, for a compiled loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from paretax._checks import check_count, check_key

__all__ = ["Loader", "LoaderState", "loader"]


class LoaderState(NamedTuple):
    """Where the loader stands: arrays only, so that a checkpoint holds it.

    Attributes:
      key: of all shuffles.
      epoch: int32, how many epochs are over.
      place: int32, how many batches of this epoch were given.
      order: int32, shape [batches, batch size], the rows of this epoch's batches.
    """

    key: Array
    epoch: Int[Array, ""]
    place: Int[Array, ""]
    order: Int[Array, "s b"]


class Loader(NamedTuple):
    """Batches without end, reshuffled every epoch.

    Attributes:
      arrays: the examples, on the device: give them to the compiled function as an
        argument, not as a constant of it.
      init: `init(key) -> state`.
      next: `next(state, arrays) -> (batch, state)`, pure.
      batches: how many make an epoch.
    """

    arrays: PyTree
    init: Callable[[Array], LoaderState]
    next: Callable[[LoaderState, PyTree], tuple[PyTree, LoaderState]]
    batches: int


def loader(arrays: PyTree, batch_size: int, *, device: Any = None) -> Loader:
    """Shuffled batches of arrays in the device's memory, inside jit, scan and vmap.

    Every example comes once an epoch; those that fill no batch are left out of it,
    other ones each time. The order depends on the key and the epoch only, so a run that
    goes on from a stored state sees what it would have seen.

    Args:
      arrays: a pytree of arrays with one leading axis of n examples: a split of
        `paretax.data.load`, say.
      batch_size: examples a batch, from 1 to n.
      device: a `jax.Device` or a sharding to put them on; the default device for None.

    Returns:
      A `Loader`.

    Raises:
      ValueError: no arrays, or of different lengths; `batch_size` below 1 or above n.

    Example:
      >>> import jax, numpy as np
      >>> from paretax import data
      >>> batches = data.loader({"x": np.arange(6)}, 2)
      >>> def step(carry, _):
      ...     state, total = carry
      ...     batch, state = batches.next(state, arrays)
      ...     return (state, total + batch["x"].sum()), None
      >>> arrays = batches.arrays
      >>> start = batches.init(jax.random.key(0)), 0
      >>> (state, total), _ = jax.lax.scan(step, start, length=batches.batches)
      >>> int(total), int(state.epoch), int(state.place)
      (15, 0, 3)

    Cost: n integers; a shuffle an epoch, and a gather a batch. Under `jax.vmap` over
    states there is a shuffle a batch instead.
    """
    n = _examples(arrays, batch_size)
    batches = n // batch_size

    def shuffled(key, epoch):
        # One sort, where jax.random.permutation takes two; of equal draws, about
        # n²/2³³ pairs, the earlier row stays first.
        rows = jnp.argsort(jax.random.bits(jax.random.fold_in(key, epoch), (n,)))
        return rows[: batches * batch_size].reshape(batches, batch_size)

    def init(key):
        zero = jnp.zeros((), jnp.int32)
        return LoaderState(check_key(key), zero, zero, shuffled(key, zero))

    def following(state, arrays):
        state = jax.lax.cond(
            state.place == batches,
            lambda s: LoaderState(
                s.key,
                s.epoch + 1,
                jnp.zeros_like(s.place),
                shuffled(s.key, s.epoch + 1),
            ),
            lambda s: s,
            state,
        )
        rows = state.order[state.place]
        batch = jax.tree.map(lambda leaf: leaf[rows], arrays)
        return batch, state._replace(place=state.place + 1)

    return Loader(jax.device_put(arrays, device), init, following, batches)


def _examples(arrays, batch_size) -> int:
    """How many examples there are; faults of the arguments are named."""
    lengths = {
        jax.tree_util.keystr(path) or "arrays": len(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]
    }
    if len(set(lengths.values())) != 1:
        raise ValueError(
            "arrays: expected at least one, and all with the same number of examples, "
            f"got {lengths}."
        )
    n = next(iter(lengths.values()))
    check_count("batch_size", batch_size)
    if batch_size > n:
        raise ValueError(
            f"batch_size: expected at most the {n} examples, got {batch_size}."
        )
    return n
