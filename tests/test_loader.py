"""Batches on the device and from the disk: each example once, and resumption."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import data

ARRAYS = {"x": np.arange(11), "y": np.arange(22).reshape(11, 2)}


@pytest.fixture(scope="module")
def device():
    """A loader, and a compiled scan over any state of it."""
    batches = data.loader(ARRAYS, 4)

    @jax.jit
    def run(state, arrays):
        def step(state, _):
            batch, state = batches.next(state, arrays)
            return state, (batch, state)

        return jax.lax.scan(step, state, length=6)[1]

    return batches, run


def test_an_epoch_has_every_example_once_but_the_rest_that_fills_no_batch(device):
    batches, run = device
    assert batches.batches == 2
    batch, states = run(batches.init(jax.random.key(0)), batches.arrays)
    epochs = np.asarray(batch["x"]).reshape(3, 8)
    assert all(len(set(epoch)) == 8 for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3
    np.testing.assert_array_equal(batch["y"][..., 0], 2 * batch["x"])
    assert states.epoch.tolist() == [0, 0, 1, 1, 2, 2]
    assert states.place.tolist() == [1, 2, 1, 2, 1, 2]
    other, _ = run(batches.init(jax.random.key(1)), batches.arrays)
    assert other["x"].tolist() != batch["x"].tolist()


def test_a_stored_state_goes_on_within_an_epoch(device):
    batches, run = device
    batch, states = run(batches.init(jax.random.key(0)), batches.arrays)
    third = jax.tree.map(lambda leaf: leaf[2], states)
    data_of = jax.random.key_data(third.key)
    again = third._replace(key=jax.random.wrap_key_data(np.asarray(data_of)))
    rest, _ = run(again, batches.arrays)
    np.testing.assert_array_equal(rest["x"][:3], batch["x"][3:])


def test_members_have_orders_of_their_own_under_vmap(device):
    batches, run = device
    keys = jax.random.split(jax.random.key(7), 2)
    states = jax.vmap(batches.init)(keys)
    both, _ = jax.vmap(run, (0, None))(states, batches.arrays)
    for k in (0, 1):
        alone, _ = run(batches.init(keys[k]), batches.arrays)
        np.testing.assert_array_equal(both["x"][k], alone["x"])


def test_faulty_arguments_of_the_loader_are_named():
    for call, message in [
        (lambda: data.loader({}, 2), "arrays: expected at least one"),
        (lambda: data.loader({"a": np.ones(3), "b": np.ones(2)}, 2), "arrays"),
        (lambda: data.loader(ARRAYS, 12), "at most the 11 examples, got 12"),
        (lambda: data.loader(ARRAYS, 0), "batch_size"),
        (lambda: data.loader(ARRAYS, 2).init(jnp.zeros(2, jnp.uint32)), "key"),
        (lambda: data.stream(range(3), 4, seed=0), "at most the 3 records, got 4"),
        (lambda: data.stream(range(3), 2, seed=-1), "seed"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_records_come_once_an_epoch_and_go_on_within_one():
    pytest.importorskip("grain", reason="needs the extra data-stream")
    rows = [{"x": np.int64(i)} for i in range(11)]

    def doubled(row):
        return row | {"twice": 2 * row["x"]}

    def start(**options):
        return data.stream(
            rows, 4, seed=3, transform=doubled, threads=2, **options
        )  # fmt: skip

    batches = [batch["x"].tolist() for batch in start(epochs=3)]
    assert len(batches) == 6
    epochs = [batches[2 * i] + batches[2 * i + 1] for i in range(3)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    endless = start()
    for batch in batches[:3]:
        assert next(endless)["x"].tolist() == batch
    state = endless.get_state()
    again = start()
    again.set_state(state)
    for batch in batches[3:]:
        got = next(again)
        assert got["x"].tolist() == batch
        assert got["twice"].tolist() == [2 * x for x in batch]
