"""Training and evaluation of cells, compiled: one program a data set and method."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from paretax.bench._measures import evaluator
from paretax.bench._methods import Method, make_method
from paretax.bench._settings import DatasetSettings, Settings
from paretax.ensembles import each_member
from paretax.experiments import Task

__all__ = ["Bound", "Training", "bind", "optimizer", "trainer"]

_BATCHES = 4  # this step's, the one before, and two more; see `make_method`


class Training(NamedTuple):
    """All that changes during a run; every leaf has a leading axis of cells.

    Attributes:
      params: of the models.
      optimizer: the optimizer's state.
      method: the method's state.
    """

    params: PyTree[Float[Array, "c ..."]]
    optimizer: Any
    method: Any


class Bound(NamedTuple):
    """What all methods share on a data set.

    Attributes:
      task: the task.
      part: how long it is trained on.
      settings: of the benchmark.
      splits: train and validation as arrays on the device. The test split is not among
        them.
      start: `start(seeds [c]) -> (params, rows [e, steps, 4, c, batch])`, compiled.
      evaluate: `evaluate(params, split) -> (losses [c, m], metrics [c, m])`, compiled.
    """

    task: Task
    part: DatasetSettings
    settings: Settings
    splits: dict[str, PyTree]
    start: Callable[..., tuple[PyTree, Int[Array, "e s 4 c b"]]]
    evaluate: Callable[..., tuple[Float[Array, "c m"], Float[Array, "c m"]]]


def bind(task: Task, part: DatasetSettings, settings: Settings) -> Bound:
    """The data on the device, and what is compiled once for all methods.

    Args:
      task: the task of the data set.
      part: how long it is trained on.
      settings: of the benchmark.

    Returns:
      A `Bound`.

    Cost: the two programs compile at their first use.
    """
    splits = {
        split: jax.device_put(getattr(task, split)) for split in ("train", "validation")
    }
    examples = len(jax.tree.leaves(task.train)[0])
    alone = 1 if settings.cells_at_once == 1 else None

    def start(seed):
        key = jax.random.key(seed)
        rows = jnp.stack(
            [_orders(jax.random.fold_in(key, 1), examples, part)] * 2
            + [_orders(jax.random.fold_in(key, i), examples, part) for i in (2, 3)],
            axis=1,
        )
        rows = rows.at[1:, 1].set(
            rows[:-1, 0]
        )  # the batch before; of the first, itself
        return task.init(key), rows

    def starts(seeds):
        params, rows = each_member(start, batch_size=alone)(seeds)
        rows = jnp.moveaxis(rows, 0, 2)
        parts = (settings.evaluations, part.steps // settings.evaluations)
        return params, rows.reshape(*parts, *rows.shape[1:])

    evaluate = each_member(evaluator(task), (0, None), batch_size=1)
    return Bound(task, part, settings, splits, jax.jit(starts), jax.jit(evaluate))


def _orders(key, examples, part):
    """Rows of each step, [steps, batch]: epochs of shuffled rows, whole batches."""
    batch = min(part.batch_size, examples)
    epoch = examples // batch
    keys = jax.random.split(key, -(-part.steps // epoch))
    rows = jax.lax.map(
        lambda k: jax.random.permutation(k, examples)[: epoch * batch], keys
    )
    return rows.reshape(-1, batch)[: part.steps]


def optimizer(
    settings: Settings, rate: Float[Array, ""] | float, num_steps: int
) -> optax.GradientTransformation:
    """The optimizer of all methods: cosine decay to 0 over the steps.

    Args:
      settings: of the benchmark.
      rate: the first learning rate, which may be traced.
      num_steps: of the run.

    Returns:
      An optax transformation.

    Cost: none.
    """

    def schedule(count):
        return rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(count / num_steps, 1.0)))

    if settings.optimizer == "sgd":
        return optax.sgd(schedule, momentum=0.9)
    return optax.adam(schedule)


def trainer(
    bound: Bound, name: str, options: Mapping[str, Any]
) -> tuple[Callable[..., Training], Callable[..., Any]]:
    """`begin` and `segment` of one method, not yet compiled.

    Args:
      bound: the data set.
      name: of the method. "fixed" without the option `weights` takes each cell's own.
      options: of its factory.

    Returns:
      `begin(params [c, ...], seeds [c]) -> Training`, and `segment(training, rates [c],
      weights [c, m], rows [s, 4, c, b], train) -> (training, mean losses [c, m])`: s
      steps in one scan. `weights` is read by the baselines alone.

    Raises:
      As `make_method`.

    Cost: as the method's.
    """
    task, settings = bound.task, bound.settings
    m = len(task.task_names)
    own_weights = name == "fixed" and "weights" not in options
    alone = 1 if settings.cells_at_once == 1 else None

    def method(weights) -> Method:
        used = {"weights": weights} if own_weights else options
        return make_method(task.losses, name, used, m)

    def begin(params, seed):
        tx = optimizer(settings, 0.0, bound.part.steps)
        key = jax.random.fold_in(jax.random.key(seed), 4)
        state = method(np.ones(m, np.float32)).init(params, key)
        return Training(params, tx.init(params), state)

    def cell(training, rate, weights, rows, train):
        tx = optimizer(settings, rate, bound.part.steps)
        direction = method(weights).direction

        def step(state, four):
            def batch(which):
                return jax.tree.map(lambda leaf: leaf[four[which]], train)

            losses, update, own = direction(state.params, state.method, batch)
            updates, opt = tx.update(update, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
            return Training(params, opt, own), losses

        training, losses = jax.lax.scan(step, training, rows)
        return training, losses.mean(axis=0)

    def segment(training, rates, weights, rows, train):
        cells = each_member(cell, (0, 0, 0, 0, None), batch_size=alone)
        return cells(training, rates, weights, jnp.moveaxis(rows, 2, 0), train)

    return each_member(begin, batch_size=alone), segment
