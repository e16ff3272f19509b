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
from paretax.experiments._optimizer import decayed
from paretax.experiments._passes import shuffled_steps

__all__ = ["Bound", "Training", "bind", "trainer"]


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
    batch = min(part.batch_size, examples)
    alone = 1 if settings.cells_at_once == 1 else None

    def start(seed):
        key = jax.random.key(seed)
        own, *others = (
            shuffled_steps(jax.random.fold_in(key, i), 0, part.steps, examples, batch)
            for i in (1, 2, 3)
        )
        before = jnp.concatenate([own[:1], own[:-1]])  # of the first step, itself
        return task.init(key), jnp.stack([own, before, *others], axis=1)

    def starts(seeds):
        params, rows = each_member(start, batch_size=alone)(seeds)
        rows = jnp.moveaxis(rows, 0, 2)
        parts = (settings.evaluations, part.steps // settings.evaluations)
        return params, rows.reshape(*parts, *rows.shape[1:])

    evaluate = each_member(evaluator(task), (0, None), batch_size=1)
    return Bound(task, part, settings, splits, jax.jit(starts), jax.jit(evaluate))


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
        tx = decayed(settings.optimizer, 0.0, bound.part.steps)
        key = jax.random.fold_in(jax.random.key(seed), 4)
        state = method(np.ones(m, np.float32)).init(params, key)
        return Training(params, tx.init(params), state)

    def cell(training, rate, weights, rows, train):
        tx = decayed(settings.optimizer, rate, bound.part.steps)
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
