"""An epoch as one compiled program: k members, each with its own mini-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PyTree

from paretax.ensembles import Placement, each_member
from paretax.experiments._config import FrontConfig, optimizer, scalarization
from paretax.experiments._passes import mean_over, shuffled
from paretax.experiments._task import Task

__all__ = [
    "NonFiniteLossError",
    "Scores",
    "TrainState",
    "check_finite",
    "evaluator",
    "initial_state",
    "trainer",
]


class NonFiniteLossError(FloatingPointError):
    """A member's loss became NaN or infinite; the message names the member."""


class TrainState(NamedTuple):
    """All that the rest of a run depends on; what a checkpoint holds."""

    params: PyTree[Float[Array, "k ..."]]
    optimizer: Any
    epoch: Int[Array, ""]


class Scores(NamedTuple):
    """Means over a split: losses [k, m], and scores [k, m] or None."""

    loss: Float[Array, "k m"]
    accuracy: Float[Array, "k m"] | None


def initial_state(
    task: Task, config: FrontConfig, grid, num_steps: int, where: Placement
) -> TrainState:
    """One initialization, copied to every member, each on its device."""
    params = task.init(jax.random.key(config.seed))
    members = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (config.members, *leaf.shape)).copy(),
        params,
    )
    state = optimizer(config, num_steps, grid).init(members)
    return where.put(TrainState(members, state, jnp.zeros((), jnp.int32)))


def trainer(
    task: Task,
    config: FrontConfig,
    grid,
    examples: int,
    num_steps: int,
    where: Placement,
) -> Callable[[TrainState, PyTree], tuple[TrainState, Float[Array, "k m"]]]:
    """`epoch(state, train) -> (state, mean losses [k, m])`, compiled, state donated.

    Each member sees every example once an epoch, in an order that depends on the seed,
    the epoch and the member only; the examples that do not fill a batch are left out.
    Members are split over devices, and the losses are whole on each.
    """
    batch_size = min(config.batch_size, examples)
    steps = examples // batch_size
    tx = optimizer(config, num_steps, grid, where)
    members = each_member(
        _gradient(task, config),
        (0, 0, 0, None),
        batch_size=config.members_at_once,
        placement=where,
    )

    def epoch(state, train):
        key = jax.random.fold_in(jax.random.key(config.seed), state.epoch + 2)
        keys = jax.random.split(key, config.members)
        orders = each_member(
            lambda k: shuffled(k, examples, batch_size), placement=where
        )(keys)

        def step(carry, rows):
            params, opt_state, total = carry
            gradients, losses = members(params, grid, rows, train)
            updates, opt_state = tx.update(gradients, opt_state, params)
            params = optax.apply_updates(params, updates)
            return (params, opt_state, total + losses), None

        total = jnp.zeros(grid.shape)
        start = (state.params, state.optimizer, total)
        (params, opt_state, total), _ = jax.lax.scan(
            step, start, jnp.swapaxes(orders, 0, 1)
        )
        state = TrainState(params, opt_state, state.epoch + 1)
        return _stays(state, where), _whole(total / steps, where)

    return jax.jit(epoch, donate_argnums=0)


def _gradient(task, config):
    """A member's gradient and losses on some rows of the data."""
    make = scalarization(config)

    def gradient(params, preference, rows, train):
        batch = jax.tree.map(lambda leaf: leaf[rows], train)

        def objective(p):
            losses = task.losses(p, batch)
            return make(preference)(losses), losses

        return jax.grad(objective, has_aux=True)(params)

    return gradient


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
