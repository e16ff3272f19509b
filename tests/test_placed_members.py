"""Members on four devices are those of one, by two all-to-alls a transfer."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import processes
import pytest

from paretax import ensembles, experiments

EXACT = ["none, members", "fixed, members", "neighbor, members", "averaged, members",
         "averaged every 2, members"]  # fmt: skip
CLOSE = ["distance, members", "neighbor, members and data",
         "distance, members and data"]  # fmt: skip
ADAPTIVE = ["adaptive, members", "adaptive, members and data"]
AUTO = (jax.sharding.AxisType.Auto,)
report = functools.partial(processes.report, "placed_members.py", 4)


def one_device():
    return ensembles.place(jax.make_mesh((1,), ("members",), axis_types=AUTO))


@pytest.mark.parametrize("case", EXACT)
def test_four_devices_give_the_members_of_one_bit_for_bit(case):
    found = report()[case]
    assert found["same"]
    assert found["error"] < 1e-6  # and those without a placement to rounding
    assert found["steps"] == 5


@pytest.mark.parametrize("case", CLOSE + ADAPTIVE)
def test_sums_over_devices_give_them_to_rounding(case):
    assert report()[case]["error"] < 2e-5
    assert report()[case]["matrix"] < 1e-5


@pytest.mark.parametrize("case", EXACT + CLOSE + ADAPTIVE)
def test_members_stay_on_their_devices_and_the_matrix_is_whole_on_each(case):
    assert set(report()[case]["split"]) == {"members"}
    assert report()[case]["whole"]


@pytest.mark.parametrize("case", EXACT + CLOSE)
def test_a_transfer_is_one_all_to_all_there_and_one_back(case):
    """What else is sent is k flags, k² distances and gradients of a split batch."""
    found = report()[case]["collectives"]
    swaps = [shapes for kind, shapes in found if kind == "all-to-all"]
    assert len(swaps) == (0 if case.startswith("none") else 2)
    devices = 2 if "data" in case else 4
    # A device's k/d members of 58 numbers, thrice with Adam's moments, padded to 16 d.
    numbers = 192 if case.startswith("averaged") else 64
    for shapes in swaps:
        sizes = [math.prod(map(int, s.split(","))) for s in shapes]
        assert sum(sizes) == 8 // devices * numbers
    gathered = [s for kind, shapes in found if kind == "all-gather" for s in shapes]
    sizes = [math.prod(int(n) for n in s.split(",") if n) for s in gathered]
    assert max(sizes, default=0) <= 8
    reduced = [s for kind, shapes in found if kind == "all-reduce" for s in shapes]
    assert reduced.count("8,8") == (1 if case.startswith("distance") else 0)
    if "data" not in case:
        assert set(reduced) <= {"8,8"}
    assert {kind for kind, _ in found} <= {"all-to-all", "all-gather", "all-reduce"}


@pytest.mark.parametrize("case", ADAPTIVE)
def test_an_adaptive_transfer_sends_slices_and_reduces_its_products_only(case):
    """Gradients, parameters and means there; what is averaged there and back."""
    found = report()[case]["collectives"]
    devices = 2 if "data" in case else 4
    swapped = [s for kind, shapes in found if kind == "all-to-all" for s in shapes]
    sent = [math.prod(map(int, shape.split(","))) for shape in swapped]
    assert sum(sent) == 8 // devices * (3 * 64 + 2 * 192)
    gathered = [s for kind, shapes in found if kind == "all-gather" for s in shapes]
    assert {math.prod(int(n) for n in s.split(",") if n) for s in gathered} <= {8}
    reduced = [s for kind, shapes in found if kind == "all-reduce" for s in shapes]
    assert reduced.count("3,8,8") == 1


def test_a_lost_member_gives_nothing_to_any_device_and_is_named():
    found = report()["lost"]
    assert found["same"]
    assert found["error"] < 1e-6
    assert found["finite"] == [True] * 5 + [False] + [True] * 2
    assert found["column"] == [0.0] * 5 + [1.0] + [0.0] * 2
    assert found["others"]


def test_leaves_of_two_types_go_together_and_leaves_that_stay_do_not():
    found = report()["lost"]
    assert found["types"] == ["bfloat16", "float32", "float32"]
    assert found["own"] == [0.0] * 8
    kinds = [kind for kind, _ in found["collectives"]]
    assert kinds.count("all-to-all") == 2


def test_what_does_not_fit_on_the_devices_is_named():
    assert "the 4 devices of the axis 'members' share evenly" in report()["members"]
    assert "share evenly, got 6" in report()["each_member"]


def test_a_rule_that_forgets_the_other_slices_is_refused_while_tracing():
    assert re.search("out_specs|replicat", report()["forgot"])


def test_every_product_is_at_the_highest_precision_on_devices_too():
    theta = {"w": jnp.ones((4, 3, 2)), "b": jnp.ones((4, 2), jnp.bfloat16)}
    for rule in (
        ensembles.neighbor_coupling(ensembles.das_dennis(2, 3)),
        ensembles.distance_coupling(),
    ):
        tx = ensembles.transfer(rule, placement=one_device())
        text = str(jax.make_jaxpr(lambda t, tx=tx: tx.update(t, tx.init(t), t))(theta))
        assert text.count("dot_general[") == 1
        assert text.count("Precision.HIGHEST") == 2


def test_a_placed_step_lowers_everywhere():
    where = one_device()
    tx = optax.chain(
        ensembles.per_member(optax.adam(0.1), 4, batch_size=2, placement=where),
        ensembles.transfer(ensembles.distance_coupling(), placement=where),
    )
    theta = {"w": jnp.ones((4, 3))}
    platforms = ("cpu", "cuda", "rocm", "tpu")
    step = jax.jit(tx.update)
    jax.export.export(step, platforms=platforms)(theta, tx.init(theta), theta)


@pytest.mark.parametrize("config", ["neighbor", "grown"])
def test_a_front_on_four_devices_is_that_of_one_bit_for_bit(config):
    found = report()[f"front {config}"]
    assert found["devices"] == [4, 1, 4]
    assert found["same"]


@pytest.mark.parametrize("config", ["distance", "adaptive"])
def test_a_front_whose_coupling_sums_over_devices_is_that_of_one_to_rounding(config):
    assert report()[f"front {config}"]["error"][0] < 1e-5


@pytest.mark.parametrize("config", ["neighbor", "distance", "adaptive", "grown"])
def test_members_at_once_change_rounding_only(config):
    assert report()[f"front {config}"]["error"][1] < 1e-5


def test_the_most_devices_that_share_evenly():
    pairs = [(8, 2, 2), (8, 6, 4), (9, 2, 1), (7, 100, 7), (64, 3, 2), (12, 5, 4)]
    for members, devices, expected in pairs:
        assert experiments.share(members, devices) == expected


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 9])
def test_groups_of_members_give_the_updates_of_all_at_once(batch_size):
    tx = optax.chain(optax.add_noise(0.1, 0.5, key=jax.random.key(0)), optax.adam(0.1))
    params = jax.random.normal(jax.random.key(1), (7, 4))
    found = []
    for size in (None, batch_size):
        many = ensembles.per_member(tx, 7, batch_size=size)
        state = many.init(params)
        for _ in range(2):
            updates, state = jax.jit(many.update)(params, state, params)
        found.append(updates)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_groups_hold_the_memory_of_a_group():
    """64 members of 100 kB of temporaries each, 4 at a time."""

    def fun(x):
        return jnp.sum(jnp.sin(x[:, None] * x) @ jnp.cos(x[:, None] + x))

    def temporaries(batch_size):
        many = ensembles.each_member(fun, batch_size=batch_size)
        compiled = jax.jit(many).lower(jnp.ones((64, 160))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(4) < temporaries(None) / 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ensembles.place(
                jax.make_mesh((1,), ("members",), axis_types=AUTO), "devices"
            ),
            r"axis_name: expected an axis of the mesh \('members',\), got 'devices'",
        ),
        (
            lambda: ensembles.place(
                jax.make_mesh(
                    (1,), ("members",), axis_types=(jax.sharding.AxisType.Explicit,)
                )
            ),
            "mesh: expected axes of type Auto",
        ),
        (
            lambda: ensembles.per_member(optax.sgd(1.0), 3, batch_size=0),
            "batch_size: expected at least 1",
        ),
        (
            lambda: ensembles.each_member(jnp.sin, batch_size=0),
            "batch_size: expected at least 1",
        ),
        (
            lambda: ensembles.each_member(jnp.add, (0, 1))(jnp.ones(2), jnp.ones(2)),
            r"in_axes: expected 0 or None for each of 2 arguments, got \(0, 1\)",
        ),
        (
            lambda: experiments.FrontConfig(members_at_once=0),
            "members_at_once: expected at least 1",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
