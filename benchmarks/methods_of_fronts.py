"""The methods of fronts.py: k models of a task in one program, each by its own rule.

Every method is a `Method`; all take the same mini-batches of their own for every
member, SGD with momentum 0.9 or Adam (the hypernetwork Adam) and a cosine decay to 0
over their steps. A gradient evaluation is one backward pass of one member: a weighted
sum takes one a step, a method on the Jacobian m.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import paretax as px
from paretax import ensembles, models

HIDDEN = 100
CONCENTRATION = 0.2
WINDOW, APART = 8, 4  # see `in_time`


class Method(NamedTuple):
    """One way to a front.

    Attributes:
      start: key -> state.
      step: (state, batches [k, ...], key) -> state.
      members: state -> parameters, leaves [k, ...].
      gradients: gradient evaluations a member and step.
    """

    start: Callable[[jax.Array], Any]
    step: Callable[[Any, Any, jax.Array], Any]
    members: Callable[[Any], Any]
    gradients: int


class Setting(NamedTuple):
    """What a method is built for: the task, preferences [k, m], a schedule, its length.

    `rate` maps a step to a learning rate; `steps` is how many there will be; the
    members' `optimizer` is sgd or adam.
    """

    task: Any
    preferences: jax.Array
    rate: Callable[[jax.Array], jax.Array]
    steps: int
    optimizer: str = "sgd"


def copies(task, key, k):
    """One initialization for all members."""
    params = task.init(key)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (k, *x.shape)).copy(), params)


def own(task, key, k):
    """Another initialization a member."""
    rows = [task.init(one) for one in jax.random.split(key, k)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def own_optimizer(setting):
    if setting.optimizer == "adam":
        return optax.adam(setting.rate)
    return optax.sgd(setting.rate, momentum=0.9)


def optimizer(setting):
    return ensembles.per_member(own_optimizer(setting), len(setting.preferences))


def scalarized(scalarization, tx):
    """One gradient a member: of a scalarization of its losses."""

    def build(setting):
        task, grid = setting.task, setting.preferences
        chain = tx(setting)

        def gradient(own):
            params, preference, batch = own
            objective = scalarization(preference)
            return jax.grad(lambda p: objective(task.losses(p, batch)))(params)

        def start(key):
            params = copies(task, key, len(grid))
            return params, chain.init(params)

        def step(state, batches, key):
            del key
            params, inner = state
            grads = jax.lax.map(gradient, (params, grid, batches))
            updates, inner = chain.update(grads, inner, params)
            return optax.apply_updates(params, updates), inner

        return Method(start, step, lambda state: state[0], 1)

    return build


def grown(tx, share=1 / 2, slower=4):
    """First one model, on the mean of the losses; then all members start from it.

    Within its share of the budget the model steps on one mini-batch after another, at a
    rate so many times lower, since nothing averages its noise.
    """

    def build(setting):
        k = len(setting.preferences)
        first = round(share * setting.steps)
        later = setting._replace(rate=lambda t: setting.rate(t + first))
        slowly = setting._replace(rate=lambda t: setting.rate(t // k) / slower)
        members = scalarized(linear, tx)(later)
        single = own_optimizer(slowly)

        def start(key):
            params, inner = members.start(key)
            alone = single.init(jax.tree.map(lambda x: x[0], params))
            return params, inner, alone, jnp.zeros((), jnp.int32)

        def alone(state, batches, key):
            del key
            copies, inner, moments, t = state

            def step(carry, batch):
                params, moments = carry
                mean = lambda p: jnp.mean(setting.task.losses(p, batch))
                updates, moments = single.update(jax.grad(mean)(params), moments)
                return (optax.apply_updates(params, updates), moments), None

            params = jax.tree.map(lambda x: x[0], copies)
            (params, moments), _ = jax.lax.scan(step, (params, moments), batches)
            copies = jax.tree.map(
                lambda x, old: jnp.broadcast_to(x, old.shape), params, copies
            )
            return copies, inner, moments, t + 1

        def together(state, batches, key):
            params, inner, moments, t = state
            return *members.step((params, inner), batches, key), moments, t + 1

        def step(state, batches, key):
            young = state[-1] < first
            return jax.lax.cond(young, alone, together, state, batches, key)

        return Method(start, step, lambda state: state[0], 1)

    return build


def in_time(build):
    """What is trained is read out as its average over about the last ninth of steps.

    Every fourth step is a turn of the average, and counts (WINDOW + 1)/(turn + WINDOW):
    the polynomial-decay averaging of Shamir & Zhang (ICML 2013, arXiv:1212.1824), whose
    window grows as the run does.
    """

    def averaged(setting):
        method = build(setting)

        def start(key):
            inner = method.start(key)
            return inner, inner[0], jnp.zeros((), jnp.int32)

        def step(state, batches, key):
            inner, average, t = state
            inner = method.step(inner, batches, key)
            share = (WINDOW + 1) / (t // APART + 1 + WINDOW)
            average = jax.lax.cond(
                t % APART == 0,
                lambda: optax.incremental_update(inner[0], average, share),
                lambda: average,
            )
            return inner, average, t + 1

        def members(state):
            inner, average, _ = state
            return method.members((average, *inner[1:]))

        return Method(start, step, members, method.gradients)

    return averaged


def combined(method, *, initial=copies, preferences=False):
    """m gradients a member, combined by the method."""

    def build(setting):
        task, grid = setting.task, setting.preferences
        k, m = grid.shape
        given = {"preferences": grid} if preferences else {}
        chain = optax.chain(
            ensembles.combine_members(method(setting), k, m, **given),
            optimizer(setting),
        )

        def jacobian(own):
            params, batch = own
            return px.value_and_jacobian(task.losses)(params, batch)

        def start(key):
            params = initial(task, key, k)
            return params, chain.init(params)

        def step(state, batches, key):
            del key
            params, inner = state
            losses, jac = jax.lax.map(jacobian, (params, batches))
            updates, inner = chain.update(jac, inner, params, losses=losses)
            return optax.apply_updates(params, updates), inner

        return Method(start, step, lambda state: state[0], m)

    return build


def hypernetwork(weighting, gradients):
    """A Pareto hypernetwork: k rays a step, read out at the preferences."""

    def build(setting):
        task, grid = setting.task, setting.preferences
        k, m = grid.shape
        template = jax.eval_shape(task.init, jax.random.key(0))

        def network(seed):
            return models.Hypernetwork(template, m, hidden=HIDDEN, rngs=nnx.Rngs(seed))

        _, generate = models.as_functions(network(0))
        direction = models.hypernetwork_direction(
            generate, task.losses, weighting, batch_size=1
        )
        tx = optax.adam(setting.rate)

        def start(key):
            params = models.as_functions(network(key))[0]
            return params, tx.init(params)

        def step(state, batches, key):
            params, inner = state
            rays = jax.random.dirichlet(key, jnp.full(m, CONCENTRATION), (k,))
            first = jax.vmap(lambda ray: weighting(ray).init(m))(rays)
            _, gradient, _ = direction(params, first, rays, batches)
            updates, inner = tx.update(gradient, inner, params)
            return optax.apply_updates(params, updates), inner

        def members(state):
            return jax.lax.map(lambda ray: generate(state[0], ray), grid)

        return Method(start, step, members, gradients(m))

    return build


def neighbors(bandwidth):
    """Rows of M ∝ exp(−distance of preferences/bandwidth), the member itself included.

    Distances are in units of the smallest: |i − j| on an even grid for two tasks.
    """

    def build(setting):
        grid = setting.preferences
        apart = jnp.linalg.norm(grid[:, None] - grid, axis=-1)
        least = jnp.min(jnp.where(apart > 0, apart, jnp.inf))
        kernel = jnp.exp(-apart / least / bandwidth)
        return ensembles.fixed_coupling(kernel / kernel.sum(1, keepdims=True))

    return build


def transferred(coupling):
    def build(setting):
        return optax.chain(optimizer(setting), ensembles.transfer(coupling(setting)))

    return build


def averaged(coupling, every=1):
    def build(setting):
        rule = coupling(setting)
        return ensembles.adapt_then_combine(optimizer(setting), rule, every=every)

    return build


def adaptive(setting):
    power = 0.75 if setting.optimizer == "adam" else 1.0
    return ensembles.adaptive_transfer(
        optimizer(setting), setting.preferences, gain_power=power
    )


def linear_ray(ray):
    return px.from_losses(px.scalarizations.linear(ray))


linear = px.scalarizations.linear
METHODS = {
    "mt2o: states averaged": scalarized(linear, averaged(neighbors(1.0))),
    "mt2o: states, every 8 steps": scalarized(linear, averaged(neighbors(1.0), 8)),
    "mt2o: parameters handed over": scalarized(linear, transferred(neighbors(1.0))),
    "mt2o: distance rule": scalarized(
        linear, transferred(lambda _: ensembles.distance_coupling())
    ),
    "mt2o: adaptive": scalarized(linear, adaptive),
    "mt2o: adaptive, in time": in_time(scalarized(linear, adaptive)),
    "mt2o: grown, adaptive, in time": in_time(grown(adaptive)),
    "mt2o: states, in time": in_time(scalarized(linear, averaged(neighbors(1.0)))),
    "mt2o: grown, in time": in_time(grown(averaged(neighbors(1.0)))),
    "independent, grown, in time": in_time(grown(optimizer)),
    "one model, in time": in_time(grown(optimizer, share=1)),
    "independent": scalarized(linear, optimizer),
    "independent, smooth Tchebycheff": scalarized(
        px.scalarizations.smooth_tchebycheff, optimizer
    ),
    "mgda, own starts": combined(lambda _: px.mgda(), initial=own),
    "pareto_mtl": combined(
        lambda s: (
            lambda p: ensembles.pareto_mtl(
                p, s.preferences, init_steps=s.steps // 50, normalize=True
            )
        ),
        preferences=True,
    ),
    "epo": combined(lambda _: ensembles.epo, preferences=True),
    "pmgda": combined(lambda _: ensembles.pmgda, preferences=True),
    "hypervolume_gradient": combined(
        lambda s: ensembles.hypervolume_gradient(jnp.asarray(s.task.reference)),
        initial=own,
    ),
    "moo_svgd": combined(lambda _: ensembles.moo_svgd(), initial=own),
    "hypernetwork, linear": hypernetwork(linear_ray, lambda m: 1),
    "hypernetwork, linear, in time": in_time(hypernetwork(linear_ray, lambda m: 1)),
    "hypernetwork, epo": hypernetwork(ensembles.epo, lambda m: m),
}
HYPERNETWORKS = tuple(name for name in METHODS if name.startswith("hypernetwork"))
