"""What grouping.py trains: networks, and programs compiled once for each data set."""

import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tasks_of_grouping import Problem, loss_of

import paretax as px
from paretax import grouping

LOOK = 10  # affinities are taken every so many steps, as TAG's code does


class Clock:
    """Processor seconds of this process, without those that went into compiling: what
    else the machine does makes no difference, and threads add up."""

    def __init__(self):
        self.compiling = 0.0

    def __call__(self):
        return time.process_time() - self.compiling

    def compiled(self, fun):
        """`fun`, compiled at the first call with arguments of each shape."""
        made = {}

        def call(*args):
            shapes = str(jax.tree.map(jax.typeof, args))
            if shapes not in made:
                begun = time.process_time()
                made[shapes] = jax.jit(fun).lower(*args).compile()
                self.compiling += time.process_time() - begun
            return jax.block_until_ready(made[shapes](*args))

        return call


class Plan(NamedTuple):
    """Steps from `begin` to `stop`; `rates`, a prefix of the parameters, fall by half a
    cosine that ends at `steps`."""

    begin: Any
    stop: Any
    steps: Any
    rates: Any


def descend(total, params, key, plan, split, batch, watch=None):
    """Adam on `total(params, key, t, x, y)`; the parameters, and the sum of what
    `watch(params, t, x, y)` gave every `LOOK` steps."""
    tx = optax.scale_by_adam()
    inputs, targets = split

    def fall(t):
        return 0.5 * (1 + jnp.cos(jnp.pi * t / plan.steps))

    def seen(params, t, x, y):
        return jnp.zeros(()) if watch is None else watch(params, fall(t), x, y)

    def body(t, carry):
        params, state, sums = carry
        draw, noise = jax.random.split(jax.random.fold_in(key, t))
        rows = jax.random.randint(draw, (batch,), 0, len(inputs))
        x, y = inputs[rows], targets[:, rows]
        look = lambda: seen(params, t, x, y)
        sums = sums + jax.lax.cond(t % LOOK == 0, look, lambda: jnp.zeros_like(sums))
        gradient = jax.grad(total)(params, noise, t, x, y)
        updates, state = tx.update(gradient, state)
        move = lambda rate, part: jax.tree.map(lambda u: -fall(t) * rate * u, part)
        updates = type(params)(*map(move, plan.rates, updates))
        return optax.apply_updates(params, updates), state, sums

    shape = jax.eval_shape(seen, params, plan.begin, inputs[:1], targets[:, :1])
    carry = (params, tx.init(params), jnp.zeros(shape.shape))
    params, _, sums = jax.lax.fori_loop(plan.begin, plan.stop, body, carry)
    return params, sums


def network(widths, binary):
    """Trunks of these widths, the input's first, and linear heads of one output."""

    def trunk(params, x):
        for kernel, bias in params:
            x = jax.nn.relu(x @ kernel + bias)
        return x

    def start(key):
        sizes = list(itertools.pairwise(widths))
        keys = jax.random.split(key, len(sizes))
        return [
            (normal(key, size, 2 / size[0]), jnp.zeros(size[1]))
            for key, size in zip(keys, sizes, strict=True)
        ]

    def start_head(key):
        return normal(key, (widths[-1],), 1 / widths[-1]), jnp.zeros(())

    head = lambda params, features: features @ params[0] + params[1]
    model = grouping.grouped(trunk, head, loss_of(binary))
    return model, {"trunk": start, "head": start_head}


def normal(key, shape, variance):
    return jax.random.normal(key, shape) * variance**0.5


def widened(widths, times):
    """Hidden widths for so many times the parameters of a trunk."""

    def scaled(factor):
        return (widths[0], *(round(factor * width) for width in widths[1:]))

    def count(widths):
        return sum((a + 1) * b for a, b in itertools.pairwise(widths))

    goal = times * count(widths)
    best = min(np.linspace(1, times, 400), key=lambda f: abs(count(scaled(f)) - goal))
    return scaled(best)


class Programs(NamedTuple):
    """On the training split; they run without compiling after the first call.

    Attributes:
      alone: `(weights [N], rate, key, steps) -> params` of one trunk with N heads,
        trained on the weighted sum of losses: a mask trains a group.
      wide: the same with as many parameters as K trunks.
      lookahead, cosine: `(weights, rate, key, steps) -> A`, summed over that training.
      dmtg: `((rate, tau, rate of the logits), key, stop, steps) -> params`, by whether
        all trunks and all heads start alike.
      tuned: `(pruned, group, rate, key, begin, steps) -> pruned`.
      outputs: `(params, x) -> [N, n]`.
      pruned_outputs: `(pruned, group, x) -> [N, n]`.
    """

    alone: Callable
    wide: Callable
    lookahead: Callable
    cosine: Callable
    dmtg: dict[bool, Callable]
    tuned: Callable
    outputs: Callable
    pruned_outputs: Callable


def programs(problem: Problem, clock: Clock) -> Programs:
    widths = (problem.splits["train"][0].shape[1], *problem.widths)
    model, _ = network(widths, problem.binary)

    def on_train(fun):
        call = clock.compiled(fun)
        return lambda *args: call(*args, problem.splits["train"])

    return Programs(
        on_train(one_trunk(problem, widths)),
        on_train(one_trunk(problem, widened(widths, problem.groups))),
        on_train(one_trunk(problem, widths, lookahead)),
        on_train(one_trunk(problem, widths, cosine)),
        {a: on_train(open_groups(problem, widths, a)) for a in (True, False)},
        on_train(pruned_groups(problem, widths)),
        clock.compiled(model.predict),
        clock.compiled(model.pruned_predict),
    )


def one_trunk(problem, widths, affinity=None):
    """One trunk is one group of all tasks."""
    model, start = network(widths, problem.binary)

    def losses(params, x, y):
        return model.losses(params, x, y)[:, 0]

    def run(weights, rate, key, steps, train):
        def watch(params, fall, x, y):
            return affinity(losses, fall * rate, params, x, y)

        first, order = jax.random.split(key)
        params = grouping.init_params(first, len(problem.names), 1, **start)
        params, sums = descend(
            lambda params, noise, t, x, y: jnp.sum(weights * losses(params, x, y)),
            params,
            order,
            Plan(0, steps, steps, (rate, rate, rate, 0.0)),
            train,
            problem.batch,
            None if affinity is None else watch,
        )
        return params if affinity is None else sums

    return run


SHARED = grouping.GroupedParams(True, True, False, False)


def lookahead(losses, rate, params, x, y):
    ahead = grouping.affinity_lookahead(losses, step_size=rate, shared=SHARED)
    return ahead(params, x, y)[1]


def cosine(losses, rate, params, x, y):
    gram = px.value_and_gramian(losses, shared=SHARED)(params, x, y)[1]
    return grouping.affinity_cosine(gram)


def open_groups(problem, widths, alike):
    """DMTG with all heads."""
    model, start = network(widths, problem.binary)

    def run(settings, key, stop, steps, train):
        rate, tau, rate_of_logits = settings
        losses = grouping.dmtg(model, temperature=lambda t: tau)
        first, order = jax.random.split(key)
        params = grouping.init_params(
            first, len(problem.names), problem.groups, identical=alike, **start
        )
        return descend(
            lambda params, noise, t, x, y: losses(params, noise, t, x, y)[0].sum(),
            params,
            order,
            Plan(0, stop, steps, (rate, rate, rate, rate_of_logits)),
            train,
            problem.batch,
        )[0]

    return run


def pruned_groups(problem, widths):
    model, _ = network(widths, problem.binary)

    def run(pruned, group, rate, key, begin, steps, train):
        def total(params, noise, t, x, y):
            return model.pruned_losses(params, group, x, y).sum()

        plan = Plan(begin, steps, steps, (rate, rate, rate))
        return descend(total, pruned, key, plan, train, problem.batch)[0]

    return run
