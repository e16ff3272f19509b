"""One sign a coordinate, drawn in proportion to what the tasks say."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Key

from paretax._checks import check_count, check_key, is_concrete
from paretax._combine import end_tasks
from paretax._shared import Shared

__all__ = ["GradDropState", "graddrop"]


class GradDropState(NamedTuple):
    """The state of `graddrop`.

    Attributes:
      key: the random key of the next step.
    """

    key: Key[Array, ""]


def graddrop(
    num_tasks: int,
    *,
    key: Key[Array, ""],
    leak: float | ArrayLike = 0.0,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient sign dropout: at each coordinate keep the positive or the negative
    entries of J, and sum what is left.

    At each coordinate P = ½(1 + Σᵢ gᵢ / Σᵢ |gᵢ|), the positive sign purity. With U
    uniform on [0, 1), the entries with a positive sign are kept if U < P, else those
    with a negative sign: d = Σᵢ (ℓᵢ + (1 − ℓᵢ) [kept]) gᵢ. Where all tasks agree
    in sign nothing is dropped.

    Args:
      num_tasks: m ≥ 1.
      key: a typed random key, `jax.random.key(0)`; split at every step.
      leak: ℓ in [0, 1], one number or one a task, shape [m]: the share of a task's
        gradient that is never dropped. 1 for all tasks is the sum of the gradients.
      shared: which leaves are treated, as in `px.combine`; the others get the sum over
        tasks.

    Returns:
      An optax transformation as `px.combine`'s. The mean over U of the entry is
      Σᵢ ℓᵢ gᵢ + P Σ₊ (1 − ℓᵢ) gᵢ + (1 − P) Σ₋ (1 − ℓᵢ) gᵢ, sums over the positive and
      over the negative entries. The same key draws the same signs whatever the scale
      of J and the order of its rows.

    Raises:
      ValueError: `num_tasks` is no positive integer, `key` no typed key, `leak` outside
        [0, 1] or of another length than m; what `px.combine`'s update raises.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from paretax import coordinatewise
      >>> tx = coordinatewise.graddrop(2, key=jax.random.key(0))
      >>> jac = jnp.array([[3.0, -1.0, 1.0], [1.0, -2.0, 0.0]])  # no conflict
      >>> tx.update(jac, tx.init(jac[0]))[0].tolist()
      [4.0, -3.0, 1.0]

    Cost: a random number a coordinate and two sweeps over J; m backward passes.

    Reference: Chen et al., "Just Pick a Sign: Optimizing Deep Multitask Models with
    Gradient Sign Dropout", NeurIPS 2020, arXiv:2010.06808. Departures: the paper drops
    gradients at an activation, multiplied by the sign of that activation and summed
    over the batch; here they are gradients of parameters, taken as they are. Its
    monotone function f of P is the identity. Where U = P exactly the paper drops all
    entries, here the negative ones stay.
    """
    m = check_count("num_tasks", num_tasks)
    leaks = _check_leak(leak, m)
    first = GradDropState(check_key(key))

    def reduce(trunk, state, **extra_args):
        del extra_args
        now, after = jax.random.split(state.key)
        out = [
            _drop(leaf, jax.random.fold_in(now, number), leaks)
            for number, leaf in enumerate(trunk)
        ]
        return None, out, GradDropState(after)

    return end_tasks(lambda params: first, reduce, m, shared=shared)


def _check_leak(leak, num_tasks):
    leaks = jnp.asarray(leak, dtype=float)
    if leaks.shape not in ((), (num_tasks,)):
        raise ValueError(
            f"leak: expected one number or one for each of the {num_tasks} tasks, got "
            f"shape {leaks.shape}."
        )
    if is_concrete(leaks):
        values = np.asarray(leaks)
        if not np.all((values >= 0) & (values <= 1)):
            raise ValueError(f"leak: expected numbers in [0, 1], got {values}.")
    return jnp.broadcast_to(leaks, (num_tasks,))


def _drop(leaf, key, leaks):
    wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    size = jnp.sum(jnp.abs(wide), axis=0)
    purity = 0.5 * (1 + jnp.sum(wide, axis=0) / jnp.where(size == 0, 1, size))
    positive = jax.random.uniform(key, purity.shape, wide.dtype) < purity
    kept = jnp.where(positive, wide > 0, wide < 0).astype(wide.dtype)
    leaks = leaks.astype(wide.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1))
    total = jnp.sum((leaks + (1 - leaks) * kept) * wide, axis=0)
    # A compiler may turn the product into a choice, which would drop NaN.
    return jnp.where(jnp.isnan(size), jnp.nan, total).astype(leaf.dtype)
