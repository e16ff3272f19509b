"""Phases of training, with open groups and with settled ones, as compiled programs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from paretax import grouping
from paretax._jacobian import value_and_gramian, value_and_jacobian
from paretax.experiments._group_config import (
    GroupConfig,
    combiner,
    finetune_optimizer,
    group_optimizer,
    temperature,
)
from paretax.experiments._passes import mean_over, shuffled_steps
from paretax.experiments._task import Parts, Task
from paretax.experiments._train import Scores

__all__ = ["OpenState", "Programs", "TunedState", "programs"]

_AFFINITY_EXAMPLES = 512
# Random streams of a run, each independent of the others.
_INIT, _DRAWS, _OPEN_ROWS, _TUNE_ROWS, _AFFINITY_ROWS = range(5)


class OpenState(NamedTuple):
    """All that the rest of a run depends on while the groups are open."""

    params: grouping.GroupedParams
    combiner: Any
    optimizer: Any
    keep: grouping.KeepState
    step: Int[Array, ""]


class TunedState(NamedTuple):
    """All that the rest of a run depends on once the groups are settled."""

    params: grouping.PrunedParams
    optimizer: Any
    group: Int[Array, " n"]
    step: Int[Array, ""]


class Programs(NamedTuple):
    """What a run computes; each compiles at its first call for a shape.

    Attributes:
      start: `() -> OpenState`, with all heads and all groups alike.
      settle: `(pruned, group) -> TunedState`, where finetuning begins.
      open_rows, tune_rows: `(first, count) -> rows`, the examples of `count` steps from
        number `first`, shape [count, batch].
      open_phase: `(state, packing, train, rows) -> (state, mean f, bad)`, a step for
        each row of rows; bad has the tasks whose losses were not finite where that
        began. The state is donated.
      tune_phase: `(state, train, rows) -> (state, mean f, bad)`, likewise.
      decided: `(logits, keep) -> (p, H)`, the probabilities of the groups, [N, K], and
        their entropies, [N].
      affinity: `(params, train) -> A`, shape [N, N]; needs all heads.
      evaluate: `(pruned, group, split) -> Scores`, of shape [N].
    """

    start: Callable[[], OpenState]
    settle: Callable[..., TunedState]
    open_rows: Callable[..., Int[Array, "count batch"]]
    tune_rows: Callable[..., Int[Array, "count batch"]]
    open_phase: Any
    tune_phase: Any
    decided: Callable[..., tuple[Float[Array, "n k"], Float[Array, " n"]]]
    affinity: Callable[[grouping.GroupedParams, PyTree], Float[Array, "n n"]]
    evaluate: Callable[..., Scores]


def programs(task: Task, config: GroupConfig) -> Programs:
    """The programs of a run; the task has parts."""
    parts = task.parts
    assert parts is not None
    model = grouping.grouped(
        parts.trunk,
        parts.head,
        parts.loss,
        shared=parts.shared,
        trunks_at_once=config.trunks_at_once or None,
    )
    start, open_step = _open(task, parts, model, config)
    settle, tune_step = _tuned(parts, model, config)
    examples = len(jax.tree.leaves(task.train)[0])

    def evaluate(pruned, group, split):
        means = lambda batch: _means(parts, model, pruned, group, batch)
        return mean_over(means, split)

    def affinity(params, train):
        order = jax.random.permutation(_key(config, _AFFINITY_ROWS), examples)
        return _affinity(parts, params, _batch(train, order[:_AFFINITY_EXAMPLES]))

    return Programs(
        jax.jit(start),
        settle,
        _rows(config, _OPEN_ROWS, examples),
        _rows(config, _TUNE_ROWS, examples),
        _phase(open_step),
        _phase(tune_step),
        jax.jit(_decided),
        jax.jit(affinity),
        jax.jit(evaluate),
    )


def _open(task, parts: Parts, model, config):
    """The first state, and a step of `OpenState`."""
    fun = grouping.dmtg(
        model,
        temperature=temperature(config),
        hard=config.hard,
        per_example=config.per_example,
        warm_up=config.warm_up,
    )
    keeper = grouping.keep_heads(threshold=config.threshold, patience=config.patience)
    tx, inside = group_optimizer(config), _inside(task, config)
    draws = _key(config, _DRAWS)

    def start():
        params = _first_params(task, parts, config)
        own = inside and inside.init(params.trunks)
        keep, step = keeper.init(params.logits), jnp.zeros((), jnp.int32)
        return OpenState(params, own, tx.init(params), keep, step)

    def step(state, packing, train, rows):
        batch = _batch(train, rows)
        key = jax.random.fold_in(draws, state.step)
        args = (key, state.step, batch, parts.targets(batch))

        def total(params):
            f, seen = fun(params, *args, packing=packing)
            return f.sum(), (f, seen)

        gradient, (f, seen) = jax.grad(total, has_aux=True)(state.params)
        own = state.combiner
        if inside:
            trunks, own = _combined(inside, fun, state, args, packing, seen)
            gradient = gradient._replace(trunks=trunks)
        updates, optimizer = tx.update(gradient, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        keep = keeper.update(params.logits, state.keep)
        return OpenState(params, own, optimizer, keep, state.step + 1), f

    return start, step


def _inside(task, config):
    """The combiner of every group, or None."""
    method, n = combiner(config), len(task.task_names)
    return method and grouping.combine_groups(method, config.groups, n)


def _combined(inside, fun, state, args, packing, seen):
    """The gradient of the trunks, and the combiner's state."""

    def losses(trunks):
        params = state.params._replace(trunks=trunks)
        return fun(params, *args, packing=packing)[1].losses.sum(axis=1)

    rows = value_and_jacobian(losses)(state.params.trunks)[1]
    n = seen.losses.shape[0]
    told = {
        "assignment": seen.assignment,
        "active": grouping.kept(packing, n),
        "losses": seen.losses.T,
    }
    return inside.update(rows, state.combiner, **told)


def _first_params(task, parts: Parts, config):
    return grouping.init_params(
        _key(config, _INIT),
        len(task.task_names),
        config.groups,
        trunk=parts.init_trunk,
        head=parts.init_head,
        shared=parts.init_shared,
        identical=config.identical,
    )


def _tuned(parts: Parts, model, config):
    """The state after pruning, and a step of it."""
    tx = finetune_optimizer(config)
    tuner = grouping.finetune(model, tx, combiner=combiner(config))

    def settle(pruned, group):
        return TunedState(pruned, tuner.init(pruned), group, jnp.zeros((), jnp.int32))

    def step(state, train, rows):
        batch = _batch(train, rows)
        params, optimizer, f = tuner.update(
            state.params, state.optimizer, state.group, batch, parts.targets(batch)
        )
        return TunedState(params, optimizer, state.group, state.step + 1), f

    return settle, step


def _rows(config, stream, examples):
    batch_size = min(config.batch_size, examples)

    def rows(first, count):
        key = _key(config, stream)
        return shuffled_steps(key, first, count, examples, batch_size)

    return jax.jit(rows, static_argnames="count")


def _phase(step):
    """`(state, *args, rows)`: steps in order, as one compiled program."""

    def phase(state, *args):
        *rest, rows = args

        def body(carry, batch):
            state, total, bad = carry
            state, f = step(state, *rest, batch)
            bad = jnp.where(bad.any(), bad, ~jnp.isfinite(f))
            return (state, total + f, bad), None

        f = jax.eval_shape(step, state, *rest, rows[0])[1]
        first = (state, jnp.zeros(f.shape, f.dtype), jnp.zeros(f.shape, bool))
        (state, total, bad), _ = jax.lax.scan(body, first, rows)
        return state, total / len(rows), bad

    return jax.jit(phase, donate_argnums=0)


def _decided(logits, keep):
    left = jnp.where(keep, logits, -jnp.inf)
    return jax.nn.softmax(left), grouping.entropy(left)


def _affinity(parts: Parts, params, batch):
    """Cosines of the tasks' gradients in a trunk, the mean over trunks."""
    below = batch if parts.shared is None else parts.shared(params.shared, batch)
    targets = parts.targets(batch)

    def on_trunk(args):
        trunk, heads = args

        def losses(trunk):
            outputs = jax.vmap(parts.head, (0, None))(heads, parts.trunk(trunk, below))
            return jax.vmap(parts.loss)(outputs, targets).mean(axis=1)

        return grouping.affinity_cosine(value_and_gramian(losses)(trunk)[1])

    return jax.lax.map(on_trunk, (params.trunks, params.heads)).mean(axis=0)


def _means(parts: Parts, model, pruned, group, batch):
    f = model.pruned_losses(pruned, group, batch, parts.targets(batch))
    if parts.scores is None:
        return Scores(f, None)
    return Scores(f, parts.scores(model.pruned_predict(pruned, group, batch), batch))


def _batch(train, rows):
    return jax.tree.map(lambda leaf: leaf[rows], train)


def _key(config, stream):
    return jax.random.fold_in(jax.random.key(config.seed), stream)
