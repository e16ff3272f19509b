"""Rounds: every member takes steps of its own, then parameters change hands."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from paretax._checks import check_count
from paretax._shared import Shared
from paretax.ensembles._adapt_then_combine import adapt_then_combine
from paretax.ensembles._couplings import Coupling
from paretax.ensembles._each_member import Placement, each_member
from paretax.ensembles._per_member import check_members, per_member
from paretax.ensembles._transfer import transfer

__all__ = ["LocalRounds", "local_rounds"]


class LocalRounds(NamedTuple):
    """A round of all members, made by `local_rounds`.

    Attributes:
      init: `init(params) -> state`, leaves [k, ...].
      update: `update(params, state, batches, *args) -> (params, state, aux)`.
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any, Any]]


def local_rounds(
    gradient: Callable[..., tuple[Any, Any]],
    optimizer: optax.GradientTransformation,
    coupling: Coupling,
    num_members: int,
    in_axes: tuple[int | None, ...] = (),
    *,
    states: bool = False,
    shared: Shared = None,
    batch_size: int | None = None,
    placement: Placement | None = None,
) -> LocalRounds:
    """n steps of each member, then one transfer, with the loop over members outside.

    The same numbers, up to rounding, as n steps of `per_member(optimizer, k)` with
    `transfer(coupling, every=n)` behind, or with `states` as `adapt_then_combine`. But
    a member takes its n steps, optimizer and all, before the next one begins: on a CPU,
    where members run one after another, its parameters stay in the cache for as long.

    Args:
      gradient: `gradient(params, batch, *args) -> (gradient, aux)` of one member, as
        `jax.grad(..., has_aux=True)` makes it.
      optimizer: of one member.
      coupling: the rule for M; its own count goes on once a round.
      num_members: k ≥ 1.
      in_axes: for each of `args` 0, a leading axis of members, or None, shared by all,
        as in `each_member`.
      states: average whole training states after the n-th step, as
        `adapt_then_combine` does, not parameters as it takes place.
      shared: which leaves change hands, as in `transfer`.
      batch_size: members that run at once, as in `each_member`; None for all.
      placement: members are split over devices, as `place` has it.

    Returns:
      A `LocalRounds`. `update` takes batches with leaves [k, n, ...], one for each
      member and step, and returns aux with leaves [k, n, ...]. The state is that of
      `optax.chain(per_member(...), transfer(...))`, or of `adapt_then_combine`.

    Raises:
      ValueError: `num_members` below 1; batches whose leaves do not all begin with
        [k, n], n ≥ 1; what `each_member` and `transfer` refuse.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> def gradient(theta, target):  # of (theta − target)²/2
      ...     return theta - target, (theta - target) ** 2 / 2
      >>> rule = ensembles.fixed_coupling([[0.5, 0.5], [0.5, 0.5]])
      >>> rounds = ensembles.local_rounds(gradient, optax.sgd(0.5), rule, 2)
      >>> theta, targets = jnp.zeros(2), jnp.array([[1.0, 1.0], [-1.0, -1.0]])
      >>> theta, state, loss = rounds.update(theta, rounds.init(theta), targets)
      >>> theta.tolist(), loss.tolist()
      ([0.25, -0.25], [[0.5, 0.125], [0.5, 0.125]])

    Cost: k·n gradients and steps, and one transfer.

    Reference: rounds of local steps are those of McMahan et al., "Communication-
    efficient learning of deep networks from decentralized data", AISTATS 2017,
    arXiv:1602.05629; there all members become their mean.
    """
    k = check_count("num_members", num_members)
    optimizer = optax.with_extra_args_support(optimizer)
    own = per_member(optimizer, k, placement=placement)
    options = {"shared": shared, "placement": placement}
    if states:
        handed = adapt_then_combine(_stepped(own.init), coupling, **options)
    else:
        handed = optax.chain(_stepped(own.init), transfer(coupling, **options))
    each = {"batch_size": batch_size, "placement": placement}
    gradients = each_member(gradient, (0, 0, *in_axes), **each)
    local = each_member(_local(gradient, optimizer), (0, 0, 0, *in_axes), **each)

    def update(params, state, batches, *args):
        n = _count_steps(batches, k)
        inner = state.optimizer if states else state[0]
        if n == 1:  # all members' optimizers as one operation move less memory
            only = jax.tree.map(lambda x: x[:, 0], batches)
            grads, aux = gradients(params, only, *args)
            aux = jax.tree.map(lambda x: x[:, None], aux)
            updates, inner = own.update(grads, inner, params)
        else:
            params, updates, inner, aux = local(params, inner, batches, *args)
        updates, state = handed.update(updates, state, params, stepped=inner)
        return optax.apply_updates(params, updates), state, aux

    return LocalRounds(handed.init, update)


def _stepped(init):
    """An optimizer that has stepped already: its new state comes in by keyword."""

    def update(updates, state, params=None, **extra_args):
        del state, params
        return updates, extra_args["stepped"]

    return optax.GradientTransformationExtraArgs(init, update)


def _local(gradient, optimizer):
    """A member's n steps: (parameters before the last, its update, the state, aux)."""

    def local(params, state, batches, *args):
        def step(carry, batch):
            params, updates, state = carry
            params = optax.apply_updates(params, updates)
            grads, aux = gradient(params, batch, *args)
            updates, state = optimizer.update(grads, state, params)
            return (params, updates, state), aux

        first = (params, jax.tree.map(jnp.zeros_like, params), state)
        (params, updates, state), aux = jax.lax.scan(step, first, batches)
        return params, updates, state, aux

    return local


def _count_steps(batches, k):
    """n, the second axis of every leaf."""
    check_members("batches", batches, k)
    counts = {jnp.shape(leaf)[1:2] for leaf in jax.tree.leaves(batches)}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise ValueError(
            "batches: expected leaves [k, n, ...] with the same n ≥ 1, got second axes "
            f"{sorted(counts)}."
        )
    return counts.pop()[0]
