"""Architectures for many tasks: their formulas, gradients, programs and faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import paretax as px
from paretax import models
from paretax.models import _segnet


def linear(n_in, n_out):
    return lambda rngs: nnx.Linear(n_in, n_out, rngs=rngs)


def conv(n_in, n_out, strides=1):
    return lambda rngs: nnx.Conv(n_in, n_out, (1, 1), strides=strides, rngs=rngs)


def tanh(rngs):
    return jnp.tanh


PICTURES = (2, 8, 8, 3)
MODELS = {
    "hard sharing": (
        lambda rngs: models.HardSharing(linear(4, 3), [linear(3, 2)] * 2, rngs=rngs),
        [(5, 4)],
    ),
    "mmoe": (
        lambda rngs: models.MMoE(
            linear(4, 3), [linear(3, 2), linear(3, 1)],
            num_experts=3, in_features=4, rngs=rngs,
        ),
        [(5, 4)],
    ),
    "cgc": (
        lambda rngs: models.CGC(
            linear(4, 3), [linear(3, 2)] * 2,
            num_shared=2, num_own=1, in_features=4, rngs=rngs,
        ),
        [(5, 4)],
    ),
    "ple": (
        lambda rngs: models.PLE(
            [linear(4, 3), linear(3, 2)], [linear(2, 1), linear(2, 2)],
            num_shared=1, num_own=2, in_features=(4, 3), rngs=rngs,
        ),
        [(5, 4)],
    ),
    "cross-stitch": (
        lambda rngs: models.CrossStitch(
            [linear(4, 3), tanh, linear(3, 2)], [linear(2, 1)] * 3, rngs=rngs
        ),
        [(5, 4)],
    ),
    "mtan": (
        lambda rngs: models.MTAN(
            [(conv(3, 2), conv(2, 2)), (conv(2, 4, 2), conv(4, 4))],
            (2, 4), [conv(4, 1), conv(4, 2)], rngs=rngs,
        ),
        [PICTURES],
    ),
    "segnet": (
        lambda rngs: models.SegNetMTAN((2, 1), widths=(2, 4), rngs=rngs),
        [PICTURES],
    ),
    "resnet": (
        lambda rngs: models.HardSharing(
            lambda r: models.ResNet(blocks=(1, 2), width=2, rngs=r),
            [linear(4, 1)] * 2, rngs=rngs,
        ),
        [PICTURES],
    ),
    "message passing": (
        lambda rngs: models.MessagePassing(
            2, features=4, hidden=3, steps=2, readout_steps=2, gaussians=3, rngs=rngs
        ),
        [(3, 4, 3), (3, 4)],
    ),
}  # fmt: skip


# Fewer stages where programs with derivatives take long to compile.
SMALL = MODELS | {
    "segnet": (
        lambda rngs: models.SegNetMTAN((2, 1), widths=(2,), rngs=rngs),
        [PICTURES],
    ),
    "resnet": (
        lambda rngs: models.HardSharing(
            lambda r: models.ResNet(blocks=(1,), width=2, rngs=r),
            [linear(2, 1)] * 2,
            rngs=rngs,
        ),
        [PICTURES],
    ),
    "message passing": (
        lambda rngs: models.MessagePassing(
            2, features=3, hidden=2, steps=1, gaussians=2, readout_steps=2, rngs=rngs
        ),
        [(3, 4, 3), (3, 4)],
    ),
}
FAST = {"xla_backend_optimization_level": 0}


def inputs(shapes, seed=0):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=shapes[0]), jnp.float32)
    if len(shapes) == 1:
        return (x,)
    charges = rng.choice([1, 6, 7, 8, 9], shapes[1])
    charges[0, 2:] = 0
    return 2 * x, jnp.asarray(charges, jnp.int32)


def pure(make):
    """Parameters of NumPy's, and the function: no initial number is computed."""
    shapes = jax.eval_shape(lambda: models.as_functions(make(nnx.Rngs(0)))[0])
    rng = np.random.default_rng(1)

    def one(path, shape):
        values = rng.normal(size=shape.shape) * 0.7
        if jax.tree_util.keystr(path[-1:]) == "['bias']":  # else some ReLU are dead
            values = np.abs(values)
        return jnp.asarray(values, shape.dtype)

    params = jax.tree.map_with_path(one, shapes)

    def apply(params, *args):
        return models.as_functions(make(nnx.Rngs(0)))[1](params, *args)

    return params, apply


def losses_of(apply):
    def losses(params, *args):
        return jnp.stack([jnp.mean(jnp.sin(y + 1) ** 2) for y in apply(params, *args)])

    return losses


@pytest.mark.parametrize("name", SMALL)
def test_the_gramian_of_each_architecture_is_that_of_its_jacobian(name):
    make, shapes = SMALL[name]
    params, apply = pure(make)
    losses = losses_of(apply)

    def program(params, *args):
        f, gram, pullback = px.value_and_gramian(losses)(params, *args)
        weights = jnp.arange(1.0, len(f) + 1)
        jac = jax.jacrev(losses)(params, *args)
        expected = px.contract(weights, jac)
        return gram, pullback(weights), px.gramian(jac), expected

    gram, direction, full, expected = jax.jit(program, compiler_options=FAST)(
        params, *inputs(shapes)
    )
    assert np.abs(full).max() > 1e-6
    np.testing.assert_allclose(gram, full, rtol=1e-3, atol=1e-5 * np.abs(full).max())
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(direction),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * scale)
        assert (np.abs(b) > 0).any(), f"{jax.tree_util.keystr(path)} is idle"


@pytest.mark.parametrize("name", SMALL)
def test_each_architecture_lowers_for_accelerators(name):
    make, shapes = SMALL[name]
    params, apply = pure(make)
    exported = jax.export.export(
        jax.jit(jax.grad(lambda p, *a: losses_of(apply)(p, *a).sum())),
        platforms=("cpu", "cuda", "rocm", "tpu"),
    )(params, *inputs(shapes))
    assert exported.platforms == ("cpu", "cuda", "rocm", "tpu")


# ---- the formulas, in NumPy ----


def numpy_of(name):
    """Parameters and inputs in NumPy, and outputs: of the second of two members."""
    make, shapes = MODELS[name]
    params, apply = pure(make)
    args = inputs(shapes)
    members = jax.tree.map(lambda p: jnp.stack([0.5 * p, p]), params)
    over = jax.vmap(apply, (0, *[None] * len(args)))
    outputs = jax.jit(over, compiler_options=FAST)(members, *args)
    if not isinstance(outputs, tuple):
        outputs = jnp.moveaxis(outputs, 1, 0)
    double = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    return double, [np.asarray(a) for a in args], [y[1] for y in outputs]


def close(outputs, expected):
    for got, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-5)


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0.0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rows_of(tree):
    return [tree[k] for k in sorted(tree)]


def test_mmoe_mixes_experts_by_the_gate_of_each_task():
    p, (x,), outputs = numpy_of("mmoe")
    expected = []
    for gate, head in zip(rows_of(p["gates"]), rows_of(p["heads"]), strict=True):
        mixed = np.zeros((5, 3))
        for n in range(5):
            share = softmax(x[n] @ gate["kernel"])
            for i, expert in enumerate(rows_of(p["experts"])):
                mixed[n] += share[i] * dense(expert, x[n])
        expected.append(dense(head, mixed))
    close(outputs, expected)


def test_ple_extracts_level_by_level():
    p, (x,), outputs = numpy_of("ple")
    own, shared = [x, x], x
    for level in rows_of(p["levels"]):
        common = [dense(e, shared) for e in rows_of(level["shared"])]
        mine = [
            [dense(e, own[k]) for e in rows_of(experts)]
            for k, experts in enumerate(rows_of(level["own"]))
        ]
        mixed = []
        for k, gate in enumerate(rows_of(level["gates"])):
            share = softmax(own[k] @ gate["kernel"])
            pool = mine[k] + common
            mixed.append(sum(share[:, [i]] * e for i, e in enumerate(pool)))
        if "shared_gate" in level:
            share = softmax(shared @ level["shared_gate"]["kernel"])
            pool = mine[0] + mine[1] + common
            shared = sum(share[:, [i]] * e for i, e in enumerate(pool))
        own = mixed
    assert "shared_gate" not in rows_of(p["levels"])[-1]
    close(outputs, map(dense, rows_of(p["heads"]), own))


def test_cross_stitch_mixes_the_tasks_after_each_stage():
    p, (x,), outputs = numpy_of("cross-stitch")
    own = [x] * 3
    for stage, unit in enumerate(rows_of(p["units"])):
        if stage == 1:
            after = [np.tanh(y) for y in own]
        else:
            after = list(map(dense, rows_of(p["stages"][stage]), own))
        own = [sum(unit[k, j] * after[j] for j in range(3)) for k in range(3)]
    close(outputs, map(dense, rows_of(p["heads"]), own))
    start = models.CrossStitch([tanh], [tanh] * 3, rngs=nnx.Rngs(0)).units[0][...]
    np.testing.assert_allclose(start, 0.05 + 0.85 * np.eye(3), rtol=1e-6)


def norm(p, x):
    """Of few channels: one group, over all pixels and channels of an example."""
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    scaled = (x - mean) / np.sqrt(x.var(axis=(1, 2, 3), keepdims=True) + 1e-6)
    return scaled * p["scale"] + p["bias"]


def conv3(p, x, strides=1):
    """A convolution of an odd kernel, one pixel and tap after another."""
    kernel = p["kernel"]
    k = kernel.shape[0]
    wide = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    n, h, w, _ = x.shape
    out = np.zeros((n, -(-h // strides), -(-w // strides), kernel.shape[-1]))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            a, b = i * strides, j * strides
            patch = wide[:, a : a + k, b : b + k]
            out[:, i, j] = np.einsum("nabc,abcd->nd", patch, kernel)
    return out + p.get("bias", 0.0)


def block(p, x, strides=1):
    return np.maximum(norm(p["norm"], conv3(p["conv"], x, strides)), 0)


def mask(p, x):
    return sigmoid(norm(p["norm"], conv3(p["outer"], block(p["inner"], x))))


def halved(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def test_mtan_masks_the_trunk_for_each_task():
    p, (x,), outputs = numpy_of("mtan")
    (first, rest), (second, last) = (rows_of(s) for s in rows_of(p["stages"]))
    u = conv3(first, x)
    trunk = conv3(rest, u)
    kept = [mask(a, u) * trunk for a in rows_of(p["attention"][0])]
    passed = [halved(block(rows_of(p["between"])[0], y)) for y in kept]
    u = conv3(second, trunk, 2)
    trunk = conv3(last, u)
    kept = [
        mask(a, np.concatenate([u, y], axis=-1)) * trunk
        for a, y in zip(rows_of(p["attention"][1]), passed, strict=True)
    ]
    close(outputs, map(conv3, rows_of(p["heads"]), kept))


def test_a_residual_network_is_that_of_the_paper_in_numpy():
    p, (x,), outputs = numpy_of("resnet")
    parts = rows_of(p["trunk"]["stages"])
    y = block(parts[0]["layers"][0]["conv"], x, 2)
    wide = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    y = np.array(
        [
            [wide[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in (0, 1)]
            for i in (0, 1)
        ]
    ).transpose(2, 0, 1, 3)

    def residual(p, x, strides=1):
        inner = block(p["inner"], x, strides)
        y = norm(p["outer"]["norm"], conv3(p["outer"]["conv"], inner))
        if "past" in p:
            past = conv3(p["past"]["conv"], x, strides)
            x = norm(p["past"]["norm"], past)
        return np.maximum(x + y, 0)

    y = residual(parts[1], y)
    y = residual(parts[2]["layers"][0], y, 2)
    y = residual(parts[3], y).mean(axis=(1, 2))
    close(outputs, [dense(head, y) for head in rows_of(p["heads"])])


def test_maxima_go_back_to_where_they_were():
    x = jnp.array([[1.0, 5.0, -3.0, -4.0], [2.0, 5.0, -2.0, -9.0]])[None, :, :, None]
    top, place = _segnet._pool(x)
    assert top[0, ..., 0].tolist() == [[5.0, -2.0]]
    back = _segnet._unpool(top, place)[0, ..., 0]
    assert back.tolist() == [[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, -2.0, 0.0]]


def test_segnet_with_attention_is_the_published_network_layer_by_layer():
    p, (x,), outputs = numpy_of("segnet")

    def at(name, j):
        return rows_of(p[name])[j]

    def run(blocks, x):
        for own in rows_of(blocks["layers"]):
            x = block(own, x)
        return x

    def both(x, y):
        return np.concatenate([x, y], axis=-1)

    def placed(x):
        """1 at the first maximum of each square."""
        out = np.zeros_like(x)
        n, h, w, c = x.shape
        for e, i, j, k in np.ndindex(n, h // 2, w // 2, c):
            square = x[e, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, k]
            a, b = np.unravel_index(square.argmax(), (2, 2))
            out[e, 2 * i + a, 2 * j + b, k] = 1
        return out

    def repeat(x):
        return x.repeat(2, axis=1).repeat(2, axis=2)

    u0 = block(at("down_first", 0), x)
    r0 = run(at("down_rest", 0), u0)
    u1 = block(at("down_first", 1), halved(r0))
    r1 = run(at("down_rest", 1), u1)
    g1 = placed(r1) * repeat(halved(r1))
    v1 = run(at("up_rest", 1), block(at("up_first", 1), g1))
    g0 = placed(r0) * repeat(v1)
    v0 = run(at("up_rest", 0), block(at("up_first", 0), g0))
    expected = []
    for k in (0, 1):
        a = mask(rows_of(at("down_masks", 0))[k], u0) * r0
        a = halved(block(at("down_pass", 0), a))
        a = mask(rows_of(at("down_masks", 1))[k], both(u1, a)) * r1
        a = halved(block(at("down_pass", 1), a))
        for j, g, v in ((1, g1, v1), (0, g0, v0)):
            n, h, w, c = a.shape
            grown = jax.image.resize(jnp.asarray(a), (n, 2 * h, 2 * w, c), "bilinear")
            a = block(at("up_pass", j), np.asarray(grown, np.float64))
            a = mask(rows_of(at("up_masks", j))[k], both(g, a)) * v
        for layer in rows_of(at("heads", k)["layers"]):
            a = conv3(layer, a)
        expected.append(a)
    close(outputs, expected)


def test_message_passing_is_that_of_the_paper_atom_by_atom():
    """With the matrix of every edge, which the network never forms."""
    p, (positions, charges), outputs = numpy_of("message passing")
    heads = rows_of(p["heads"])
    for n in range(len(charges)):
        atoms = np.flatnonzero(charges[n])
        hot = (charges[n, atoms][:, None] == [1, 6, 7, 8, 9]).astype(float)
        h = np.maximum(dense(p["embed"], hot), 0)
        for _ in range(2):
            message = np.zeros_like(h)
            for i in range(len(atoms)):
                for j in range(len(atoms)):
                    if i == j:
                        continue
                    apart = positions[n, atoms[i]] - positions[n, atoms[j]]
                    distance = np.linalg.norm(apart.astype(float))
                    e = np.exp(-0.5 * ((distance - [0.5, 4.25, 8.0]) / 3.75) ** 2)
                    hidden = np.append(np.maximum(dense(p["edge"], e), 0), 1.0)
                    matrix = np.einsum(
                        "k,kcd->cd", hidden, p["matrix"]["kernel"].reshape(4, 4, 4)
                    )
                    message[i] += h[j] @ matrix / (len(atoms) - 1)
            m = np.maximum(dense(p["root"], h) + message, 0)
            new = np.split(dense(p["gru"]["new"], m), 3, axis=1)
            old = np.split(dense(p["gru"]["old"], h), 3, axis=1)
            r, z = sigmoid(new[0] + old[0]), sigmoid(new[1] + old[1])
            h = (1 - z) * np.tanh(new[2] + r * old[2]) + z * h
        q, cell, read = np.zeros(4), np.zeros(4), np.zeros(8)
        for _ in range(2):
            gates = dense(p["readout"]["seen"], read) + dense(p["readout"]["past"], q)
            i, f, g, o = np.split(gates, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            q = sigmoid(o) * np.tanh(cell)
            read = np.concatenate([q, softmax(h @ q) @ h])
        read = np.maximum(dense(p["last"], read), 0)
        close([y[n] for y in outputs], [dense(head, read) for head in heads])


def test_padding_order_and_motion_of_a_molecule_do_not_matter():
    make, shapes = MODELS["message passing"]
    params, apply = pure(make)
    positions, charges = inputs(shapes)
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(4)
    moved = (positions @ turn + jnp.array([1.0, 2.0, 3.0]))[:, order]
    both = (
        jnp.concatenate([positions, moved]),
        jnp.concatenate([charges, charges[:, order]]),
    )
    more = [
        jnp.pad(both[0], ((0, 0), (0, 2), (0, 0)), constant_values=7.0),
        jnp.pad(both[1], ((0, 0), (0, 2))),
    ]
    run = jax.jit(apply, compiler_options=FAST)
    outputs, before = run(params, *more), run(params, positions, charges)
    np.testing.assert_allclose(outputs[:, :3], before, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs[:, 3:], before, rtol=1e-3, atol=1e-5)


def test_faulty_sizes_are_named():
    x = jax.ShapeDtypeStruct((2, 6, 6, 3), jnp.float32)

    def seen(make):
        return lambda: jax.eval_shape(lambda x: make()(x), x)

    def wrong_gate():
        return models.MMoE(
            linear(3, 2), [linear(2, 1)], num_experts=2, in_features=7, rngs=nnx.Rngs(0)
        )

    def uneven():
        stages = [(conv(3, 2), conv(2, 4))]
        return models.MTAN(stages, (2,), [conv(2, 1)], rngs=nnx.Rngs(0))

    for call, message in [
        (lambda: models.HardSharing(tanh, [], rngs=nnx.Rngs(0)), "heads: expected one"),
        (lambda: models.CrossStitch([], [tanh], rngs=nnx.Rngs(0)), "stages"),
        (lambda: models.CrossStitch([tanh], [tanh], own=2.0, rngs=nnx.Rngs(0)), "own"),
        (seen(wrong_gate), "in_features: expected 108.* got 7"),
        (
            lambda: models.PLE(
                [tanh],
                [tanh],
                num_shared=1,
                num_own=1,
                in_features=(),
                rngs=nnx.Rngs(0),
            ),
            "expected one number for each of the 1",
        ),
        (seen(uneven), "expected both parts of stage 0"),
        (
            seen(lambda: models.SegNetMTAN((1,), widths=(2, 2), rngs=nnx.Rngs(0))),
            r"sides that 2\^2 divides, got \(6, 6\)",
        ),
        (lambda: models.resnet_stages(blocks=()), "blocks"),
        (lambda: models.resnet_stages(blocks=(0,)), "blocks"),
        (lambda: models.MessagePassing(gaussians=1, rngs=nnx.Rngs(0)), "gaussians"),
        (lambda: models.MessagePassing(elements=(), rngs=nnx.Rngs(0)), "elements"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
