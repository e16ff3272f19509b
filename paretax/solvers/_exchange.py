"""Block principal pivoting: the search for a support whose signs are all right."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

__all__ = ["Exchanged", "exchange"]

_CHANCES = 3


class Exchanged(NamedTuple):
    """Where the search ended.

    Attributes:
      support: bool, shape [m].
      found: what `look` saw there.
      wrong: bool, shape [m]; none if it succeeded.
      steps: how often it looked.
    """

    support: Bool[Array, " m"]
    found: Any
    wrong: Bool[Array, " m"]
    steps: Int[Array, ""]


class _Carry(NamedTuple):
    last: Exchanged
    fewest: Int[Array, ""]
    chances: Int[Array, ""]


def exchange(
    look: Callable[[Bool[Array, " m"]], tuple[Any, Bool[Array, " m"]]],
    start: Bool[Array, " m"],
    max_steps: int,
) -> Exchanged:
    """Moves wrong indices in or out of the support until there are none.

    All of them at a time; when that has not reduced their number three times running,
    only the largest of them, until it has.

    Args:
      look: support -> (what is found there, which indices have the wrong sign).
      start: bool, shape [m], the first support.
      max_steps: when to give up: rounding can make this cycle.

    Reference: Portugal, Júdice & Vicente, "A comparison of block pivoting and
    interior-point algorithms for linear least squares problems with nonnegative
    variables", 1994; Murty, "Note on a Bard-type scheme for solving the complementarity
    problem", 1974.
    """
    m = start.shape[0]
    order = jnp.arange(m, dtype=jnp.int32)

    def body(carry):
        wrong = carry.last.wrong
        count = jnp.sum(wrong, dtype=jnp.int32)
        chances = jnp.where(count < carry.fewest, _CHANCES, carry.chances - 1)
        largest = wrong & (order == jnp.max(jnp.where(wrong, order, -1)))
        support = carry.last.support ^ jnp.where(chances > 0, wrong, largest)
        last = Exchanged(support, *look(support), carry.last.steps + 1)
        return _Carry(last, jnp.minimum(carry.fewest, count), chances)

    def keep_going(carry):
        first = carry.last.steps == 0
        return (first | jnp.any(carry.last.wrong)) & (carry.last.steps < max_steps)

    shapes, _ = jax.eval_shape(look, start)
    found = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    count = jnp.asarray([0, m + 1, _CHANCES], jnp.int32)
    first = Exchanged(start, found, jnp.zeros(m, bool), count[0])
    return jax.lax.while_loop(keep_going, body, _Carry(first, *count[1:])).last
