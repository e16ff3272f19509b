"""Symmetric positive definite systems, small and dense, one or a batch of them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["UNROLLED", "UNROLLED_IN_A_BATCH", "product", "solve_spd"]

# Up to these sizes an unrolled factorization beats a library call, for one system and
# for a batch, over which it vectorizes.
UNROLLED = 7
UNROLLED_IN_A_BATCH = 11


def product(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a @ b at the highest precision: no TF32 or bfloat16 inside a certificate."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def solve_spd(
    a: Float[Array, "m m"], b: Float[Array, "m ..."], *, unroll: bool = True
) -> Float[Array, "m ..."]:
    """X with A X = B, A symmetric positive definite; linear in B, forward and reverse.

    B has shape [m], or [m, r] for r right-hand sides that share the factorization.
    Where a program solves rarely, `unroll=False` saves seconds of compilation.

    Cost: m³/3 multiply-adds unrolled (m ≤ 7, in a batch m ≤ 11) or by LAPACK; m³ in a
    batch of larger ones, where batched library calls are avoided: XLA's CPU runtime
    deadlocks on two of them at once.
    """

    def solve(_, right):
        if unroll and a.shape[0] <= UNROLLED:
            return _unrolled(a, right)
        return (_library if unroll else _rolled)(a, right)

    return jax.lax.custom_linear_solve(
        lambda x: product(a, x), b, solve, symmetric=True
    )


def _alone(a, b):
    factor = jax.scipy.linalg.cho_factor(a, lower=True)
    return jax.scipy.linalg.cho_solve(factor, b)


def _with_batches_by(solve_one):
    """A library call for one system; `solve_one(m)` picks the solver of a batch."""
    single = jax.custom_batching.custom_vmap(_alone)

    @single.def_vmap
    def _(axis_size, in_batched, a, b):
        rows = [
            x if batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, batched in zip((a, b), in_batched, strict=True)
        ]
        return jax.vmap(solve_one(a.shape[-1]))(*rows), True

    return single


@jax.jit
def _looped(a, b):
    """Cholesky column by column, each step one update of the whole matrix."""
    m = b.shape[0]
    order = jnp.arange(m)
    beside = order.reshape(m, *(1 for _ in b.shape[1:]))

    def eliminate(j, carry):
        rest, right, columns = carry
        below = jnp.where(order >= j, rest[:, j], 0.0)
        column = below * jax.lax.rsqrt(rest[j, j])
        y = right[j] / column[j]
        left = right - jnp.multiply.outer(column, y)
        right = jnp.where(beside > j, left, right).at[j].set(y)
        return rest - jnp.outer(column, column), right, columns.at[:, j].set(column)

    zero = jnp.zeros_like(a)
    _, y, columns = jax.lax.fori_loop(0, m, eliminate, (a, b, zero))

    def substitute(step, x):
        j = m - 1 - step
        value = x[j] / columns[j, j]
        left = x - jnp.multiply.outer(columns[j], value)
        return jnp.where(beside < j, left, x).at[j].set(value)

    return jax.lax.fori_loop(0, m, substitute, y)


@jax.jit
def _unrolled(a, b):
    rows = _factor(a)
    return _back_substitute(rows, _forward_substitute(rows, b))


def _factor(a):
    """The rows of L in A = L Lᵀ, the reciprocal of its diagonal in place of it."""
    m = a.shape[0]
    rows: list[list[Array]] = []
    for i in range(m):
        row: list[Array] = []
        for j in range(i):
            dot = sum((row[k] * rows[j][k] for k in range(j)), jnp.zeros((), a.dtype))
            row.append((a[i, j] - dot) * rows[j][j])
        dot = sum((value * value for value in row), jnp.zeros((), a.dtype))
        row.append(jax.lax.rsqrt(a[i, i] - dot))
        rows.append(row)
    return rows


def _forward_substitute(rows, b):
    x: list[Array] = []
    for i, row in enumerate(rows):
        dot = sum((row[k] * x[k] for k in range(i)), jnp.zeros((), b.dtype))
        x.append((b[i] - dot) * row[i])
    return x


def _back_substitute(rows, y):
    m = len(rows)
    x: list[Array] = [jnp.zeros(())] * m
    for i in reversed(range(m)):
        terms = (rows[k][i] * x[k] for k in range(i + 1, m))
        dot = sum(terms, jnp.zeros((), y[i].dtype))
        x[i] = (y[i] - dot) * rows[i][i]
    # Not jnp.stack: XLA on a CPU would compute all of x once for each of its entries.
    order = jnp.arange(m).reshape(m, *(1 for _ in x[0].shape))
    out = jnp.zeros((m, *x[0].shape), x[0].dtype)
    for i, value in enumerate(x):
        out = jnp.where(order == i, value, out)
    return out


_library = _with_batches_by(
    lambda m: _unrolled if m <= UNROLLED_IN_A_BATCH else _looped
)
_rolled = _with_batches_by(lambda m: _looped)
