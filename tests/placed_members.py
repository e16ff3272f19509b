"""Run by test_placed_members.py in a process of its own, with four devices.

Prints one JSON object: case -> what was found.
"""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import two_lines
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from paretax import ensembles, experiments

K, SIZES = 8, {"w1": (7, 5), "b1": (5,), "w2": (5, 3), "scale": ()}
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
    r"(?:-start)?\("
)

AUTO = (jax.sharding.AxisType.Auto,)


def mesh(shape, names):
    return jax.make_mesh(shape, names, axis_types=AUTO * len(names))


MESHES = {
    "members": (mesh((4,), ("members",)), P()),
    "members and data": (mesh((2, 2), ("members", "data")), P("data")),
}
RULES = {
    "none": ensembles.no_coupling(),
    "fixed": ensembles.fixed_coupling(
        np.random.default_rng(0).dirichlet(np.ones(K), K).round(6)
    ),
    "neighbor": ensembles.neighbor_coupling(
        ensembles.das_dennis(2, K - 1), strength=optax.linear_schedule(0.5, 0.0, 20)
    ),
    "distance": ensembles.distance_coupling(),
    # Not handed over but averaged after the step, moments and all.
    "averaged": ensembles.neighbor_coupling(ensembles.das_dennis(2, K - 1)),
    "adaptive": None,  # `adaptive_transfer` has its own
}


def params(dtype=jnp.float32):
    keys = dict(
        zip(SIZES, jax.random.split(jax.random.key(0), len(SIZES)), strict=True)
    )
    return {n: jax.random.normal(keys[n], (K, *s), dtype) for n, s in SIZES.items()}


def batch():
    x, y = jax.random.normal(jax.random.key(1), (2, 16, 7))
    return x, y[:, :3]


def loss(p, preference, x, y):
    h = jnp.tanh(x @ p["w1"] + p["b1"])
    errors = p["scale"] * (h @ p["w2"]) - y
    return preference @ jnp.stack([jnp.mean(errors**2), jnp.mean(jnp.abs(errors))])


def chain(rule, where, batch_size=None, every=1):
    own = optax.adam(0.01)
    own = ensembles.per_member(own, K, batch_size=batch_size, placement=where)
    if rule is None:
        grid = ensembles.das_dennis(2, K - 1)
        return optax.chain(ensembles.adaptive_transfer(own, grid, placement=where))
    options = {"every": every, "placement": where}
    if rule is RULES["averaged"]:
        return optax.chain(ensembles.adapt_then_combine(own, rule, **options))
    return optax.chain(own, ensembles.transfer(rule, **options))


def program(tx, where, batch_size, num_steps):
    """Some steps on the same batch, each member with its own preference."""

    def run(theta, state, preferences, x, y):
        gradients = ensembles.each_member(
            lambda p, w: jax.grad(loss)(p, w, x, y),
            batch_size=batch_size,
            placement=where,
        )

        def step(carry, _):
            theta, state = carry
            updates, state = tx.update(gradients(theta, preferences), state, theta)
            return (optax.apply_updates(theta, updates), state), None

        return jax.lax.scan(step, (theta, state), length=num_steps)[0]

    return run


def run(rule, where=None, spec=None, batch_size=1, dtype=jnp.float32, **options):
    """(parameters, last state) after five steps, and the compiled text."""
    tx = chain(rule, where, batch_size, **options)
    theta, (x, y) = params(dtype), batch()
    state, preferences = tx.init(theta), ensembles.das_dennis(2, K - 1)
    if where is not None:
        theta, state, preferences = (where.put(t) for t in (theta, state, preferences))
        x, y = jax.device_put((x, y), NamedSharding(where.mesh, spec))
    given = (theta, state, preferences, x, y)
    compiled = jax.jit(program(tx, where, batch_size, 5)).lower(*given).compile()
    theta, state = compiled(*given)
    return theta, state[-1], compiled.as_text()


def collectives(text):
    """(kind, shapes of its results) of every collective of a compiled program."""
    out = []
    for line in text.splitlines():
        match = COLLECTIVE.search(line)
        if match:
            shapes = re.findall(r"[a-z]+\d+\[([\d,]*)\]", line[: match.start()])
            out.append((match.group(1), shapes))
    return out


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def distance(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(np.asarray(x, float) - np.asarray(y, float)).max())
               for x, y in pairs)  # fmt: skip


CASES = {
    "none": ["members"],
    "fixed": ["members"],
    "neighbor": ["members", "members and data"],
    "distance": ["members", "members and data"],
    "averaged": ["members"],
    "averaged every 2": ["members"],
    "adaptive": ["members", "members and data"],
}


def on_one_device():
    devices = jax.devices()[:1]
    return ensembles.place(
        jax.make_mesh((1,), ("members",), axis_types=AUTO, devices=devices)
    )


def equality(report):
    for name, meshes in CASES.items():
        rule = RULES[name.removesuffix(" every 2")]
        options = {"every": 2 if name.endswith("every 2") else 1}
        plain, _, _ = run(rule, **options)
        theta, state, _ = run(rule, on_one_device(), P(), **options)
        for placed in meshes:
            devices, spec = MESHES[placed]
            where = ensembles.place(devices)
            found, across, text = run(rule, where, spec, **options)
            report[f"{name}, {placed}"] = {
                "same": same(theta, found),
                "error": max(distance(theta, found), distance(plain, found)),
                "matrix": distance(state.matrix, across.matrix),
                "steps": int(across.steps),
                "split": [leaf.sharding.spec[0] for leaf in jax.tree.leaves(found)],
                "whole": across.matrix.is_fully_replicated
                and across.finite.is_fully_replicated,
                "collectives": collectives(text),
            }


def lost(report):
    """A member with one NaN, and leaves of two types, some of them not handed over."""
    theta = {"a": jnp.ones((K, 3, 2), jnp.bfloat16).at[5, 1, 1].set(jnp.nan),
             "b": jax.random.normal(jax.random.key(0), (K, 5)),
             "own": jnp.ones(K)}  # fmt: skip
    shared = {"a": True, "b": True, "own": False}
    found = []
    for where in (None, on_one_device(), ensembles.place(MESHES["members"][0])):
        tx = ensembles.transfer(RULES["fixed"], shared=shared, placement=where)
        still = jax.tree.map(jnp.zeros_like, theta)
        given = (still, tx.init(theta), theta)
        if where is not None:
            given = tuple(where.put(tree) for tree in given)
        compiled = jax.jit(tx.update).lower(*given).compile()
        updates, state = compiled(*given)
        found.append((updates, state.matrix, state.finite))
    report["lost"] = {
        "same": same(found[1], found[2]),
        "error": distance(found[0][0]["b"], found[2][0]["b"]),
        "finite": found[2][2].tolist(),
        "column": found[2][1][:, 5].tolist(),
        "others": bool(np.isfinite(found[2][0]["b"]).all()),
        "own": found[2][0]["own"].tolist(),
        "types": [str(leaf.dtype) for leaf in jax.tree.leaves(found[2][0])],
        "collectives": collectives(compiled.as_text()),
    }


def faults(report):
    where = ensembles.place(MESHES["members"][0])
    tx = ensembles.transfer(ensembles.no_coupling(), placement=where)
    six = jnp.ones((6, 2))
    seen = ensembles.Coupling(
        lambda params: (), lambda params, state: (jnp.eye(8) * jnp.sum(params[0]), ())
    )
    careless = ensembles.transfer(seen, placement=where)
    calls = {
        "members": lambda: tx.update(six, tx.init(six), six),
        "each_member": lambda: ensembles.each_member(jnp.sin, placement=where)(six),
        "forgot": lambda: careless.update(
            jnp.ones((8, 8)), careless.init(jnp.ones((8, 8))), jnp.ones((8, 8))
        ),
    }
    for name, call in calls.items():
        try:
            jax.eval_shape(call)
            report[name] = ""
        except ValueError as error:
            report[name] = str(error)


def fronts(report):
    """The front of a task on four devices, on one, and in groups of members."""
    cases = {
        "neighbor": {"coupling": "neighbor"},
        "distance": {"coupling": "distance"},
        "adaptive": {"coupling": "adaptive"},
        "grown": {"common_passes": 1, "averaged": True, "transfer_every": 3},
    }
    for name, change in cases.items():
        config = experiments.FrontConfig(members=4, epochs=2, batch_size=16, **change)
        groups = dataclasses.replace(config, members_at_once=2)
        found = [
            experiments.front(two_lines.task, config),
            experiments.front(two_lines.task, config, devices=1),
            experiments.front(two_lines.task, groups),
        ]
        reports = [
            {k: v for k, v in one.report.items() if k not in ("seconds", "config")}
            for one in found
        ]
        slopes = [one.params["slope"] for one in found]
        report[f"front {name}"] = {
            "devices": [len(slope.sharding.device_set) for slope in slopes],
            "same": same(found[0].params, found[1].params) and reports[0] == reports[1],
            "error": [distance(slopes[0], slope) for slope in slopes[1:]],
        }


def main():
    report = {}
    fronts(report)
    equality(report)
    lost(report)
    faults(report)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
