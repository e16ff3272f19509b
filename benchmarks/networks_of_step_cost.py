"""The JAX side of step_cost.py: networks, and steps that are built and run by name."""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np

import paretax as px
from paretax import solvers


def upgrad():
    """The mean of the gradients projected onto the dual cone, exactly."""

    def weights(gram):
        out = solvers.project_cone(gram, jnp.eye(gram.shape[0], dtype=gram.dtype))
        return jnp.mean(out.value, axis=0)

    return px.stateless(weights)


WEIGHTINGS = {"nash": px.nash_mtl, "upgrad": upgrad}


def normal(rng, *shape, scale=None):
    scale = 1 / np.sqrt(shape[0]) if scale is None else scale
    return jnp.asarray(scale * rng.normal(size=shape), jnp.float32)


def dense(rng, spec):
    sizes, m, batch = spec["trunk"], spec["m"], spec["batch"]
    params = {
        "trunk": [
            {"w": normal(rng, a, b, scale=np.sqrt(2 / a)), "b": jnp.zeros(b)}
            for a, b in itertools.pairwise(sizes)
        ],
        "heads": heads(rng, m, sizes[-1]),
    }

    def features(trunk, x):
        for layer in trunk:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return x

    return params, features, normal(rng, batch, sizes[0], scale=1.0)


def heads(rng, m, width):
    return [{"w": normal(rng, width, 1), "b": jnp.zeros(1)} for _ in range(m)]


def transformer(rng, spec, width=256, depth=4, length=64, vocabulary=1000):
    """Pre-norm blocks under scan: attention of four heads, perceptron of width 4d."""
    if spec["small"]:
        width, depth, length = 32, 2, 16
    d = width

    def stacked(*shape):
        return jnp.stack([normal(rng, *shape) for _ in range(depth)])

    params = {
        "trunk": {
            "table": normal(rng, vocabulary, d, scale=0.1),
            "qkv": stacked(d, 3 * d),
            "out": stacked(d, d),
            "up": stacked(d, 4 * d),
            "down": stacked(4 * d, d),
            "gain": jnp.ones((depth, 2, d)),
        },
        "heads": heads(rng, spec["m"], d),
    }

    def norm(x, gain):
        return (
            gain * (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)
        )

    def block(x, p):
        q, k, v = jnp.split(norm(x, p["gain"][0]) @ p["qkv"], 3, axis=-1)
        q, k, v = (y.reshape(*y.shape[:2], 4, -1) for y in (q, k, v))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        x = x + mixed.reshape(x.shape) @ p["out"]
        return x + jax.nn.gelu(norm(x, p["gain"][1]) @ p["up"]) @ p["down"], None

    def features(trunk, ids):
        x = trunk["table"][ids]
        layers = {k: v for k, v in trunk.items() if k != "table"}
        return jax.lax.scan(block, x, layers)[0].mean(1)

    ids = rng.integers(0, vocabulary, size=(spec["batch"], length))
    return params, features, jnp.asarray(ids)


def resnet(rng, spec, side=32):
    """A stem and three stages of two blocks, 16 to 64 channels, without batch norm."""
    if spec["small"]:
        side = 8
    layout = ("NHWC", "HWIO", "NHWC")

    def kernel(size, a, b):
        return normal(rng, size, size, a, b, scale=np.sqrt(2 / (size * size * a)))

    params = {"trunk": {"stem": kernel(3, 3, 16)}, "heads": heads(rng, spec["m"], 64)}
    channels = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2),
                (64, 64, 1)]  # fmt: skip
    for k, (a, b, stride) in enumerate(channels):
        block = {"a": kernel(3, a, b), "b": kernel(3, b, b), "bias": jnp.zeros(b)}
        if stride > 1:
            block["short"] = kernel(1, a, b)
        params["trunk"][f"block{k}"] = block

    def conv(x, w, stride=1):
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), "SAME", dimension_numbers=layout
        )

    def features(trunk, x):
        x = jax.nn.relu(conv(x, trunk["stem"]))
        for k, (_, _, stride) in enumerate(channels):
            p = trunk[f"block{k}"]
            y = conv(jax.nn.relu(conv(x, p["a"], stride) + p["bias"]), p["b"]) / 2
            x = jax.nn.relu(y + (conv(x, p["short"], stride) if "short" in p else x))
        return x.mean((1, 2))

    return params, features, normal(rng, spec["batch"], side, side, 3, scale=1.0)


def build(spec):
    """A compiled step, its state, and what is known of it before it runs."""
    rng = np.random.default_rng(0)
    make = {"dense": dense, "transformer": transformer, "resnet": resnet}
    params, features, x = make[spec["network"]](rng, spec)
    m = spec["m"]
    targets = normal(rng, m, x.shape[0], 1, scale=1.0)

    def losses(p, x, targets):
        h = features(p["trunk"], x)
        return jnp.stack(
            [
                jnp.mean((h @ head["w"] + head["b"] - targets[i]) ** 2)
                for i, head in enumerate(p["heads"])
            ]
        )

    def descend(params, direction):
        return jax.tree.map(lambda p, g: p - 1e-4 * g, params, direction)

    state, leaves = None, ""
    if spec["weighting"] is None:

        def step(params, state, x, targets):
            value = jax.value_and_grad(lambda p: losses(p, x, targets).sum())
            found, direction = value(params)
            return descend(params, direction), state, found
    else:
        weighting = WEIGHTINGS[spec["weighting"]]()
        options = {"shared": {"trunk": True, "heads": False}, "route": spec["route"]}
        engine = px.value_and_direction(losses, weighting, **options)
        state = weighting.init(m)
        leaves = str(px.explain_gramian(losses, params, x, targets, **options))

        def step(params, state, x, targets):
            found, direction, state = engine(params, state, x, targets)
            return descend(params, direction), state, found

    start = time.perf_counter()
    compiled = (
        jax.jit(step, donate_argnums=0).lower(params, state, x, targets).compile()
    )
    return {
        "step": compiled,
        "carry": (params, state),
        "args": (x, targets),
        "compile_s": time.perf_counter() - start,
        "temp_MiB": compiled.memory_analysis().temp_size_in_bytes / 2**20,
        "leaves": leaves,
    }


def run(built):
    """One step; seconds. The parameters go on from where they are."""
    start = time.perf_counter()
    *carry, found = built["step"](*built["carry"], *built["args"])
    jax.block_until_ready((carry, found))
    seconds = time.perf_counter() - start
    built["carry"] = tuple(carry)
    return seconds
