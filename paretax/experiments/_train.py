"""An epoch as one compiled program: k members, each with its own mini-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PyTree

from paretax.ensembles import (
    LocalRounds,
    Placement,
    adaptive_transfer,
    each_member,
    local_rounds,
    per_member,
)
from paretax.experiments._config import FrontConfig, coupling, scalarization
from paretax.experiments._optimizer import decayed
from paretax.experiments._passes import mean_over, shuffled, shuffled_steps
from paretax.experiments._task import Task

__all__ = [
    "NonFiniteLossError",
    "Scores",
    "TrainState",
    "check_finite",
    "common_start",
    "evaluator",
    "initial_state",
    "readout",
    "trainer",
]

_WINDOW = 8


class NonFiniteLossError(FloatingPointError):
    """A member's loss became NaN or infinite; the message names the member."""


class TrainState(NamedTuple):
    """All that the rest of a run depends on; what a checkpoint holds."""

    params: PyTree[Float[Array, "k ..."]]
    optimizer: Any
    average: PyTree[Float[Array, "k ..."]] | None
    epoch: Int[Array, ""]


class Scores(NamedTuple):
    """Means over a split: losses [k, m], and scores [k, m] or None."""

    loss: Float[Array, "k m"]
    accuracy: Float[Array, "k m"] | None


def initial_state(
    task: Task, config: FrontConfig, grid, examples: int, where: Placement
) -> TrainState:
    """One initialization, copied to every member, each on its device."""
    params = task.init(jax.random.key(config.seed))
    members = _copies(params, config.members)
    state = _rounds(task, config, grid, examples, where).init(members)
    average = _copies(params, config.members) if config.averaged else None
    return where.put(TrainState(members, state, average, jnp.zeros((), jnp.int32)))


def trainer(
    task: Task, config: FrontConfig, grid, examples: int, where: Placement
) -> Callable[[TrainState, PyTree], tuple[TrainState, Float[Array, "k m"]]]:
    """`epoch(state, train) -> (state, mean losses [k, m])`, compiled, state donated.

    Each member sees every example once an epoch, in an order that depends on the seed,
    the epoch and the member only; the examples that do not fill a batch are left out.
    Members are split over devices, and the losses are whole on each.
    """
    _, steps, each = _sizes(config, examples)
    rounds = _rounds(task, config, grid, examples, where)
    whole = steps // each * each

    def epoch(state, train):
        orders = _orders(config, examples, where, state.epoch)

        def body(carry, rows):
            params, inner, average, total, turn = carry
            params, inner, losses = rounds.update(params, inner, rows, grid, train)
            average = _averaged(average, params, turn)
            return (params, inner, average, total + losses.sum(1), turn + 1), None

        turn = state.epoch * -(-steps // each)
        carry = (*state[:3], jnp.zeros(grid.shape), turn)
        full = orders[:, :whole].reshape(len(grid), -1, each, orders.shape[-1])
        carry, _ = jax.lax.scan(body, carry, jnp.swapaxes(full, 0, 1))
        if whole < steps:
            carry, _ = body(carry, orders[:, whole:])
        params, inner, average, total, _ = carry
        state = TrainState(params, inner, average, state.epoch + 1)
        return _stays(state, where), _whole(total / steps, where)

    return jax.jit(epoch, donate_argnums=0)


def common_start(
    task: Task, config: FrontConfig, examples: int, where: Placement
) -> Callable[[TrainState, PyTree], TrainState]:
    """`start(state, train) -> state`: one model learns, and all members become it.

    It makes `common_passes` over the data on the mean of the losses, compiled, the same
    on each device; the order of examples depends on the seed and the pass only.
    """
    batch_size, steps, _ = _sizes(config, examples)
    rate = config.learning_rate * config.common_rate
    count = steps * config.common_passes
    tx = decayed(config.optimizer, rate, count)

    def alone(params, train):
        def body(carry, rows):
            params, inner = carry
            grads, _ = _gradient(task, jnp.mean, params, rows, train)
            updates, inner = tx.update(grads, inner, params)
            return (optax.apply_updates(params, updates), inner), None

        key = jax.random.fold_in(jax.random.key(config.seed), 0)
        order = shuffled_steps(key, 0, count, examples, batch_size)
        (params, _), _ = jax.lax.scan(body, (params, tx.init(params)), order)
        return params

    def start(state, train):
        first = _whole(jax.tree.map(lambda x: x[0], state.params), where)
        everywhere = jax.shard_map(
            alone, mesh=where.mesh, in_specs=P(), out_specs=P(), check_vma=False
        )
        members = _copies(everywhere(first, train), config.members)
        average = None if state.average is None else members
        return _stays(state._replace(params=members, average=average), where)

    return jax.jit(start, donate_argnums=0)


def readout(state: TrainState) -> PyTree[Float[Array, "k ..."]]:
    """The members' parameters as they are used: averages if the run keeps them."""
    return state.params if state.average is None else state.average


def _sizes(config, examples):
    """(examples a batch, steps an epoch, steps a round)."""
    batch_size = min(config.batch_size, examples)
    steps = examples // batch_size
    return batch_size, steps, min(config.transfer_every, steps)


def _rounds(task, config, grid, examples, where):
    """The rounds of all members: their steps, then a transfer."""
    _, steps, each = _sizes(config, examples)
    epochs = config.epochs
    own = decayed(config.optimizer, config.learning_rate, steps * epochs)
    make = scalarization(config)

    def gradient(params, rows, preference, train):
        objective = make(preference)
        return _gradient(task, objective, params, rows, train)

    if config.coupling == "adaptive":
        return _adaptive_rounds(gradient, own, config, grid, steps * epochs, where)
    return local_rounds(
        gradient,
        own,
        coupling(config, -(-steps // each) * epochs, grid),
        config.members,
        (0, None),
        states=config.transfer == "states",
        batch_size=config.members_at_once,
        placement=where,
    )


def _adaptive_rounds(gradient, own, config, grid, steps, where):
    """Rounds of one step each: the transfer reads the gradients of all members."""
    tx = adaptive_transfer(
        per_member(own, config.members, placement=where),
        grid,
        window=max(1, steps // 20),
        gain_power=0.75 if config.optimizer == "adam" else 1.0,
        placement=where,
    )
    gradients = each_member(
        gradient, (0, 0, 0, None), batch_size=config.members_at_once, placement=where
    )

    def update(params, state, rows, *args):
        grads, losses = gradients(params, rows[:, 0], *args)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, losses[:, None]

    return LocalRounds(tx.init, update)


def _gradient(task, objective, params, rows, train):
    """The gradient of an objective on some rows of the data, and the losses."""
    batch = jax.tree.map(lambda leaf: leaf[rows], train)

    def scalar(p):
        losses = task.losses(p, batch)
        return objective(losses), losses

    return jax.grad(scalar, has_aux=True)(params)


def _orders(config, examples, where, epoch):
    """The rows of each member's steps of an epoch, [k, steps, batch]."""
    key = jax.random.fold_in(jax.random.key(config.seed), epoch + 2)
    keys = jax.random.split(key, config.members)
    batch_size, _, _ = _sizes(config, examples)
    draw = lambda k: shuffled(k, examples, batch_size)
    return each_member(draw, placement=where)(keys)


def _averaged(average, params, turn):
    """The average after one more turn, counted from 0; None stays None.

    A turn counts (w + 1)/(turn + 1 + w), w = 8: the polynomial-decay averaging of
    Shamir and Zhang (ICML 2013, arXiv:1212.1824), whose window grows with the turns.
    """
    if average is None:
        return None
    share = (_WINDOW + 1) / (turn + 1 + _WINDOW)
    return optax.incremental_update(params, average, share)


def _copies(tree, k):
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (k, *x.shape)).copy(), tree)


def _stays(state, where):
    return jax.lax.with_sharding_constraint(state, where.shardings(state))


def _whole(tree, where):
    return jax.lax.with_sharding_constraint(tree, NamedSharding(where.mesh, P()))


def evaluator(task: Task, where: Placement) -> Callable[[PyTree, PyTree], Scores]:
    """`evaluate(params, split) -> Scores`, compiled; whole on each device."""

    def means(params, batch):
        scores = task.scores(params, batch) if task.scores else None
        return Scores(task.losses(params, batch), scores)

    def member(params, split):
        return mean_over(lambda batch: means(params, batch), split)

    def evaluate(params, split):
        members = each_member(member, (0, None), batch_size=1, placement=where)
        return _whole(members(params, split), where)

    return jax.jit(evaluate)


def check_finite(losses, grid, epoch: int) -> None:
    """Raises NonFiniteLossError that names the members whose losses are not finite."""
    bad = [i for i, row in enumerate(losses) if not jnp.isfinite(row).all()]
    if bad:
        named = ", ".join(f"member {i} (preference {grid[i].tolist()})" for i in bad)
        raise NonFiniteLossError(
            f"the losses of {named} are not finite in epoch {epoch}; lower "
            "learning_rate. The checkpoint of the epoch before is kept."
        )
