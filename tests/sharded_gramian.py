"""Run by test_sharded_gramian.py in a process of its own, with eight devices.

Prints one JSON object: case -> what was found.
"""

import functools
import json
import re

import jax
import jax.numpy as jnp
import networks
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import paretax as px

COLLECTIVE = re.compile(r" (all-reduce|all-gather|reduce-scatter|all-to-all)\(")


def losses(p, x, ids, y):
    h = jax.nn.relu(x @ p["first"] + p["bias"]) + p["table"][ids]
    h = jnp.tanh(h @ p["up"].T)
    h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, p["wide"])
    return jnp.stack([jnp.mean((h @ w - y) ** 2) for w in p["heads"]])


@functools.cache
def mesh():
    return jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


@functools.cache
def params():
    return {
        "first": networks.normal(0, 5, 7),
        "bias": networks.normal(1, 7),
        "table": networks.normal(2, 10, 7),
        "up": networks.normal(3, 64, 7),
        "wide": networks.normal(4, 2, 64, 64) / 8,
        "heads": [networks.normal(5 + i, 64, 2) for i in range(3)],
    }


@functools.cache
def args():
    ids = np.random.default_rng(9).integers(0, 10, 16)
    return networks.normal(8, 16, 5), jnp.asarray(ids), networks.normal(10, 16, 2)


def weights():
    return jnp.arange(1.0, 4.0)


def step(p, *rest, **options):
    values, gram, pullback = px.value_and_gramian(losses, **options)(p, *rest)
    return values, gram, pullback(weights())


def error(actual, expected):
    def one(a, b):
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))

    return max(jax.tree.leaves(jax.tree.map(one, actual, expected)))


def found(fun, expected, *given):
    """Compiled once: how far from `expected`, and by which collectives."""
    compiled = fun.lower(*given).compile()
    return {
        "error": error(compiled(*given), expected),
        "collectives": collectives(compiled.as_text()),
    }


def collectives(text):
    """(kind, shapes of its results) of every collective of a compiled program."""
    out = []
    for line in text.splitlines():
        match = COLLECTIVE.search(line)
        if match:
            shapes = re.findall(r"[a-z]+\d+\[([\d,]*)\]", line[: match.start()])
            out.append((match.group(1), shapes))
    return out


def split_batch(expected, report):
    for route in ("auto", "factored", "explicit", "streamed"):
        for check in (True, False):
            fun = jax.jit(
                jax.shard_map(
                    lambda *a, route=route: step(*a, route=route, axis_name="d"),
                    mesh=mesh(),
                    in_specs=(P(), P("d"), P("d"), P("d")),
                    out_specs=P(),
                    check_vma=check,
                )
            )
            case = found(fun, expected, params(), *args())
            report[f"shard_map {route} {check}"] = case


def named_shardings(expected, report):
    def put(tree, spec):
        return jax.device_put(tree, NamedSharding(mesh(), spec))

    whole = jax.tree.map(lambda leaf: put(leaf, P()), params())
    parts = {**whole, "up": put(params()["up"], P("d")),
             "wide": put(params()["wide"], P(None, None, "d"))}  # fmt: skip
    for name, given, spec in (("batch", whole, P("d")), ("parameters", parts, P())):
        batch = tuple(put(x, spec) for x in args())
        for route in ("auto", "factored", "explicit", "streamed"):
            fun = jax.jit(lambda *a, route=route: step(*a, route=route))
            report[f"jit {name} {route}"] = found(fun, expected, given, *batch)


def directions(report):
    """Steps of a weighting that reads K at every other step, on one and on all."""
    weighting = px.every(px.nash_mtl(), num_steps=2)
    shared = lambda path: path[0].key != "heads"
    one = jax.jit(px.value_and_direction(losses, weighting, shared=shared))
    many = jax.jit(
        jax.shard_map(
            px.value_and_direction(losses, weighting, shared=shared, axis_name="d"),
            mesh=mesh(),
            in_specs=(P(), P(), P("d"), P("d"), P("d")),
            out_specs=P(),
        )
    )
    state = other = weighting.init(3)
    report["directions"] = []
    for _ in range(3):
        alone, direction, state = one(params(), state, *args())
        same, across, other = many(params(), other, *args())
        report["directions"].append(error((same, across), (alone, direction)))


def masked(report):
    """A task without labels on any device, its labels NaN."""
    active = jnp.asarray([True, False, True])

    def gram(p, x, ids, y, axis_name=None):
        def two_and_nan(p, x, ids, y):
            return losses(p, x, ids, y) * jnp.asarray([1.0, jnp.nan, 1.0])

        engine = px.value_and_gramian(two_and_nan, axis_name=axis_name)
        _, gram, pullback = engine(p, x, ids, y, active=active)
        return gram, pullback(weights())["up"]

    across = jax.shard_map(
        lambda *a: gram(*a, axis_name="d"),
        mesh=mesh(),
        in_specs=(P(), P("d"), P("d"), P("d")),
        out_specs=P(),
    )
    report["masked"] = error(
        jax.jit(across)(params(), *args()), gram(params(), *args())
    )


def message(fun, specs):
    try:
        mapped = jax.shard_map(fun, mesh=mesh(), in_specs=specs, out_specs=P())
        jax.eval_shape(mapped, params(), *args())
    except ValueError as raised:
        return str(raised)
    return ""


def main():
    jax.config.update("jax_enable_x64", True)
    report = {}
    expected = jax.jit(step)(params(), *args())
    split_batch(expected, report)
    named_shardings(expected, report)
    directions(report)
    masked(report)
    batch = (P("d"), P("d"), P("d"))
    report["no axis_name"] = message(lambda *a: step(*a)[1], (P(), *batch))
    spread = {**jax.tree.map(lambda _: P(), params()), "up": P("d")}
    report["split parameters"] = message(
        lambda *a: step(*a, axis_name="d")[1], (spread, *batch)
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
