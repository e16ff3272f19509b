"""Which way each parameter goes, as a table."""

from collections.abc import Callable
from typing import NamedTuple

from paretax._jacobian._gramian import goes_again
from paretax._jacobian._value_and_gramian import planned
from paretax._shared import Shared

__all__ = ["GramianPlan", "LeafRoute", "explain_gramian"]


class LeafRoute(NamedTuple):
    """The way of one parameter through `value_and_gramian`.

    Attributes:
      leaf: its key path.
      route: "factored", "explicit", "streamed"; "one task" where only one task's loss
        reads it, so that its share of K is one squared norm; "not in K" where `shared=`
        leaves it out; "unused".
      why: the reason, in words.
      flops: to form its share of K, the forward pass and the cotangents of the layers
        not counted, nor a gradient that comes from elsewhere than one product.
      bytes: of its intermediate values over all tasks, for K and the way back.
    """

    leaf: str
    route: str
    why: str
    flops: int
    bytes: int


class GramianPlan(NamedTuple):
    """The ways of all parameters; prints as a table.

    Attributes:
      leaves: one row a leaf, in the order of `jax.tree.leaves`.
      backward_passes: passes of the trunk that `pullback` takes, 0 or more.
    """

    leaves: tuple[LeafRoute, ...]
    backward_passes: int

    def __str__(self) -> str:
        head = LeafRoute._fields
        rows = [head] + [
            (r.leaf or "params", r.route, r.why, f"{r.flops:.2g}", f"{r.bytes:.2g}")
            for r in self.leaves
        ]
        order = (0, 1, 3, 4, 2)
        widths = [max(len(row[k]) for row in rows) for k in order]
        lines = [
            "  ".join(row[k].ljust(w) for k, w in zip(order, widths, strict=True))
            for row in rows
        ]
        lines.append(f"pullback: {self.backward_passes} further pass(es) of the trunk")
        return "\n".join(line.rstrip() for line in lines)


def explain_gramian(
    fun: Callable,
    params,
    *args,
    shared: Shared = None,
    weight_heads: bool = False,
    route: str = "auto",
    has_aux: bool = False,
) -> GramianPlan:
    """Says which way each parameter goes in `value_and_gramian`, and why.

    Args:
      fun: as for `value_and_gramian`; keyword arguments by `functools.partial`.
      params: its parameters, or `jax.ShapeDtypeStruct`s like them.
      *args: its other arguments, or the like.
      shared: which leaves enter K.
      weight_heads: how the others are weighted; it decides on further passes.
      route: the route that is asked for.
      has_aux: whether `fun` returns a pair.

    Returns:
      A `GramianPlan`: rows of (leaf, route, why, flops, bytes); `print` shows a table.

    Raises:
      ValueError: as `value_and_gramian`.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> def losses(p, x):
      ...     y = jnp.tanh(x @ p["w"] + p["b"])
      ...     return jnp.stack([jnp.mean(y ** 2), jnp.mean(y @ p["head"])])
      >>> params = {"b": jnp.zeros(64), "head": jnp.ones(64), "w": jnp.ones((64, 64))}
      >>> plan = px.explain_gramian(losses, params, jnp.ones((8, 64)))
      >>> [(row.leaf, row.route) for row in plan.leaves]
      [("['b']", 'explicit'), ("['head']", 'one task'), ("['w']", 'factored')]
      >>> plan.leaves[2].why
      'dense, 8 rows through 64×64'

    Cost: one trace of `fun`; nothing is computed.
    """
    plans = planned(fun, params, args, shared, route, has_aux)
    again = {plan.counted or weight_heads for plan in plans if goes_again(plan)}
    leaves = tuple(LeafRoute(*plan[:5]) for plan in plans)
    return GramianPlan(leaves, len(again))
