"""QM9 on its atoms, beside the task of the eigenvalues of the same molecules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_sources import HYDROGEN, METHANE, molecules_text, put_molecules

from paretax import data, experiments


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    own, root = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        put_molecules(patch, own, [molecules_text([METHANE, HYDROGEN] * 4)] * 3)
        data.load("qm9", data_dir=root, manual_dir=own)
    return root


def test_all_but_the_inputs_is_that_of_qm9(folder):
    task = experiments.by_name("qm9/graphs", examples=8, data_dir=folder)
    plain = experiments.by_name("qm9", examples=8, data_dir=folder)
    assert experiments.check_task(task) == 11
    assert task.name != plain.name
    for field in ("task_names", "specs", "reference"):
        assert getattr(task, field) == getattr(plain, field)
    shapes = {name: leaf.shape for name, leaf in task.train.items()}
    assert shapes == {"positions": (8, 29, 3), "charges": (8, 29), "label": (8, 11)}
    np.testing.assert_array_equal(task.train["label"], plain.train["label"])
    with pytest.raises(ValueError, match="Did you mean 'qm9/graphs'"):
        experiments.by_name("qm9/graph", data_dir=folder)


def test_it_learns_and_neither_order_nor_padding_matters(folder):
    task = experiments.qm9_graphs(examples=8, data_dir=folder)
    batch = jax.tree.map(jnp.asarray, task.train)
    losses, tx = jax.jit(task.losses), optax.adam(1e-2)
    gradient = jax.grad(lambda p: task.losses(p, batch).sum())

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(gradient(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=30)[0][0]

    first = jax.jit(task.init)(jax.random.key(0))
    params = train(first)
    before, after = losses(first, batch), losses(params, batch)
    assert after.sum() < 0.5 * before.sum()
    order = np.random.default_rng(0).permutation(29)
    mixed = {
        **batch,
        "positions": batch["positions"][:, order],
        "charges": batch["charges"][:, order],
    }
    there = batch["charges"][..., None] > 0
    moved = {**batch, "positions": jnp.where(there, batch["positions"], 7.0)}
    short = {
        **batch,
        "positions": batch["positions"][:, :5],
        "charges": batch["charges"][:, :5],
    }
    for other in (mixed, moved, short):
        np.testing.assert_allclose(losses(params, other), after, rtol=1e-3, atol=1e-5)
