"""What is done with stacked gradients: the Gramian, and the weighted sum."""

import contextlib
import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_active
from paretax._types import Active, Gradient, Gramian, Jacobian, Weights

__all__ = [
    "accumulator",
    "contract",
    "cross_gramian",
    "gramian",
    "keep_rows",
    "num_tasks",
    "sum_of_products",
]

_HIGHEST = jax.lax.Precision.HIGHEST


def gramian(
    jac: Jacobian, *, precise: bool = False, active: Active | None = None
) -> Gramian:
    """The Gramian K = J Jᵀ: Kᵢⱼ is the inner product of the gradients of tasks i and j.

    Args:
      jac: parameters with a leading task axis, leaves [m, ...].
      precise: accumulate in float64 whatever the leaves' type and the x64 flag. In
        float32 a direction loses a share eps/d² of itself where two gradients are
        opposite up to an angle d; accumulated in float64 it does not.
      active: bool, shape [m]: rows and columns of other tasks are zero, whatever their
        gradients hold.

    Returns:
      K, shape [m, m], symmetric, positive semi-definite up to rounding; in float64 if
      `precise`, else at least float32, accumulated in that type from bfloat16 leaves
      too.

    Raises:
      ValueError: no leaves, a leaf without a task axis, task axes of different lengths,
        or `active` that is not a bool array [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> px.gramian({"w": jnp.array([[3.0, 4.0], [0.0, 1.0]])}).tolist()
      [[25.0, 4.0], [4.0, 1.0]]

    Cost: m² multiply-adds a parameter; one matrix product a leaf, at the highest
    precision.
    """
    active = check_active(active, (num_tasks(jac),))
    leaves = jax.tree.leaves(jac)
    if active is not None:
        leaves = [keep_rows(leaf, active) for leaf in leaves]
    with accumulator(leaves, precise) as dtype:
        return sum_of_products(leaves, dtype)


def cross_gramian(jac_a: Jacobian, jac_b: Jacobian) -> Gramian:
    """The products J_a J_bᵀ of the task gradients of two batches.

    With two independent batches it is an unbiased estimate of the Gramian of the true
    gradients, which J_a J_aᵀ is not: methods that sample twice read it, as
    `tx.update(jac_c, state, params, cross_gram=px.cross_gramian(jac_a, jac_b))`.

    Args:
      jac_a: parameters with a leading task axis, leaves [m, ...].
      jac_b: likewise, with leaves of the same shapes.

    Returns:
      Shape [m, m], entry [i, j] the inner product of task i's gradient in `jac_a` and
      task j's in `jac_b`; in float32 at least. Not symmetric.

    Raises:
      ValueError: no leaves, a leaf without a task axis, or pytrees that differ.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> rows = jnp.array([[3.0, 4.0], [0.0, 1.0]])
      >>> px.cross_gramian(rows, rows[::-1]).tolist()
      [[4.0, 25.0], [1.0, 4.0]]

    Cost: m² multiply-adds a parameter, at the highest precision.
    """
    num_tasks(jac_b, num_tasks(jac_a))
    if jax.tree.map(jnp.shape, jac_a) != jax.tree.map(jnp.shape, jac_b):
        raise ValueError(
            "jac_b: expected the structure and shapes of jac_a, got "
            f"{jax.tree.map(jnp.shape, jac_b)} beside {jax.tree.map(jnp.shape, jac_a)}."
        )
    leaves = list(zip(jax.tree.leaves(jac_a), jax.tree.leaves(jac_b), strict=True))
    with accumulator([leaf for pair in leaves for leaf in pair], False) as dtype:
        return functools.reduce(jnp.add, (_product(*pair, dtype) for pair in leaves))


@contextlib.contextmanager
def accumulator(leaves, precise: bool):
    """The type in which K is accumulated, in a scope where that type exists."""
    if precise:
        with jax.enable_x64(True):
            yield jnp.float64
    else:
        types = (leaf.dtype for leaf in leaves)
        yield functools.reduce(jnp.promote_types, types, jnp.dtype(jnp.float32))


def contract(
    weights: Weights, jac: Jacobian, *, active: Active | None = None
) -> Gradient:
    """The combined gradient Jᵀw = Σᵢ wᵢ gᵢ; each leaf keeps its dtype.

    Args:
      weights: w, shape [m].
      jac: parameters with a leading task axis, leaves [m, ...].
      active: bool, shape [m]: rows of inactive tasks are left out, whatever they hold.

    Returns:
      A pytree like the parameters. The sum runs in float32 at least.

    Raises:
      ValueError: no leaves, or a leaf whose task axis is not as long as `weights`.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> jac = jnp.array([[3.0, 4.0], [0.0, 1.0]])
      >>> px.contract(jnp.array([2.0, 1.0]), jac).tolist()
      [6.0, 9.0]

    Cost: m multiply-adds a parameter, at the highest precision.
    """
    m = num_tasks(jac)
    if weights.shape != (m,):
        raise ValueError(f"weights: expected shape ({m},), got {weights.shape}.")

    def one(leaf):
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        rows = leaf if active is None else keep_rows(leaf, active)
        total = jnp.tensordot(
            weights.astype(wide), rows.astype(wide), axes=1, precision=_HIGHEST
        )
        return total.astype(leaf.dtype)

    return jax.tree.map(one, jac)


def keep_rows(leaf, active, otherwise: ArrayLike = 0):
    """A leaf [m, ...] with the rows of inactive tasks replaced, NaN or not."""
    return jnp.where(active.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, otherwise)


def num_tasks(jac: Jacobian, expected: int | None = None) -> int:
    """The length of the task axis; an error names the leaf where it is wrong."""
    paths = jax.tree_util.tree_flatten_with_path(jac)[0]
    if not paths:
        raise ValueError("jac: expected at least one leaf, got an empty pytree.")
    for path, leaf in paths:
        where = f"jac{jax.tree_util.keystr(path)}"
        if jnp.ndim(leaf) == 0:
            raise ValueError(f"{where}: expected shape [m, ...], got a scalar.")
        if expected is None:
            expected = leaf.shape[0]
        if leaf.shape[0] != expected:
            raise ValueError(
                f"{where}: expected a leading task axis of {expected}, got shape "
                f"{leaf.shape}; stack one gradient a task, as px.value_and_jacobian "
                "does, and give combine that number of tasks."
            )
    assert expected is not None
    return expected


def sum_of_products(leaves, dtype):
    """Σ ⟨gₛ, gₜ⟩ over leaves [m, ...], accumulated in a type."""
    total = functools.reduce(jnp.add, (_product(x, x, dtype) for x in leaves))
    return (total + total.T) * jnp.asarray(0.5, dtype)


def _product(left, right, dtype):
    """⟨aₛ, bₜ⟩ of two leaves [m, ...]."""
    axes = tuple(range(1, left.ndim))
    return jnp.tensordot(
        left.astype(dtype), right.astype(dtype), axes=(axes, axes), precision=_HIGHEST
    )
