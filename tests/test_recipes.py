"""The recipes beside references, and the page that shows them."""

import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import recipes
from on_the_simplex import among, project

import paretax as px


def rows(seed, m=3):
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(size=(m, 2, 2)), "b": rng.normal(size=(m, 3))}


def flat(jac):
    return np.concatenate([v.reshape(len(v), -1) for v in jac.values()], axis=1)


def directions(tx, jacs, masks=None):
    with jax.enable_x64(True):
        update = jax.jit(tx.update)
        state = tx.init(jax.tree.map(lambda v: jnp.asarray(v)[0], jacs[0]))
        for number, jac in enumerate(jacs):
            extra = {} if masks is None else {"active": jnp.asarray(masks[number])}
            d, state = update(jax.tree.map(jnp.asarray, jac), state, **extra)
            yield np.concatenate([np.ravel(v) for v in d.values()]), state
        assert update._cache_size() == 1


def test_the_moco_recipe_tracks_each_gradient_and_then_weights():
    jacs = [rows(seed) for seed in range(5)]
    masks = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1]]) > 0
    tx = recipes.moco_recipe(3, tracking=0.3, step_size=0.05, ridge=0.1)
    tracked, multipliers = np.zeros((3, 7)), np.full(3, 1 / 3)
    for number, (d, state) in enumerate(directions(tx, jacs, masks)):
        mask = masks[number]
        tracked[mask] -= 0.3 * (tracked - flat(jacs[number]))[mask]
        y = tracked[mask]

        def step(w, y=y):
            return project(w - 0.05 * (y @ (y.T @ w) + 0.1 * w))

        multipliers = among(mask, step)(multipliers)
        weights = multipliers[mask] / multipliers[mask].sum()
        np.testing.assert_allclose(d, y.T @ weights, rtol=1e-9)
        shown = np.asarray(optax.tree.get(state, "weights"))
        np.testing.assert_allclose(shown[mask], weights, rtol=1e-9)


def test_the_db_mtl_recipe_balances_moving_averages_of_log_gradients():
    """The chain on ∇log L, beside averages and lengths written out."""
    jacs = [rows(seed) for seed in range(4)]
    losses = np.random.default_rng(7).uniform(0.5, 2, size=(4, 3))
    logs = [
        {k: v / f.reshape(-1, *[1] * (v.ndim - 1)) for k, v in jac.items()}
        for jac, f in zip(jacs, losses, strict=True)
    ]
    average = np.zeros((3, 7))
    for number, (d, _) in enumerate(directions(recipes.db_mtl_recipe(3), logs)):
        average = 0.9 * average + 0.1 * flat(jacs[number]) / losses[number][:, None]
        debiased = average / (1 - 0.9 ** (number + 1))
        norms = np.linalg.norm(debiased, axis=1)
        np.testing.assert_allclose(d, (norms.max() / norms) @ debiased, rtol=1e-9)


def two_layers(seed=0):
    """Losses of a small network of two layers, three tasks."""
    keys = jax.random.split(jax.random.key(seed), 4)
    params = {
        "first": {"w": jax.random.normal(keys[0], (4, 5)), "b": jnp.zeros(5)},
        "second": {"w": jax.random.normal(keys[1], (5, 2))},
    }
    x = jax.random.normal(keys[2], (8, 4))
    targets = jax.random.normal(keys[3], (3, 8, 2))

    def losses(params, x, targets):
        hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
        out = hidden @ params["second"]["w"]
        return jnp.mean((out - targets) ** 2, axis=(1, 2))

    return losses, params, x, targets


def labels(tree):
    return {layer: layer for layer in tree}


LAYERS = ("first", "second")


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_a_combiner_a_layer_is_that_combiner_on_each_layer_alone(name):
    losses, *args = two_layers()
    _, jac = px.value_and_jacobian(losses)(*args)
    recipe = getattr(recipes, f"{name}_per_layer")
    tx = recipe(3, LAYERS, labels, key=jax.random.key(1))
    state = tx.init(args[0])
    alone = {
        layer: px.combine(getattr(px, name)(key=key), 3)
        for layer, key in zip(
            LAYERS, jax.random.split(jax.random.key(1), 2), strict=True
        )
    }
    states = {layer: alone[layer].init(args[0][layer]) for layer in LAYERS}
    update = jax.jit(tx.update)
    for factor in (1.0, -0.5, 2.0):
        step = jax.tree.map(lambda leaf, f=factor: f * leaf, jac)
        d, state = update(step, state)
        for layer in LAYERS:
            expected, states[layer] = alone[layer].update(step[layer], states[layer])
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
                d[layer],
                expected,
            )


def test_pcgrad_a_layer_removes_the_conflict_of_that_layer_only():
    """Two tasks that conflict in one layer and agree in the other, by hand."""
    jac = {
        "first": jnp.array([[1.0, 0.0], [-1.0, 1.0]]),
        "second": jnp.array([[10.0, 0.0], [10.0, 1.0]]),
    }
    tx = recipes.pcgrad_per_layer(2, LAYERS, labels, key=jax.random.key(0))
    d, _ = tx.update(jac, tx.init({k: v[0] for k, v in jac.items()}))
    # g₁ + ½ g₂ and g₂ + g₁ where they conflict (g₁ᵀg₂ = −1), g₁ + g₂ elsewhere.
    np.testing.assert_allclose(d["first"], [0.5, 1.5], rtol=1e-5)
    np.testing.assert_allclose(d["second"], [20.0, 1.0], rtol=1e-5)


PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"


def blocks():
    return [part.split("```")[0] for part in PAGE.read_text().split("```python\n")[1:]]


def without_blanks(text):
    return [line for line in text.splitlines() if line.strip()]


def test_the_page_shows_the_recipes_as_they_are():
    shown = [without_blanks(text) for text in blocks() if text.startswith("def ")]
    written = [
        without_blanks(inspect.getsource(fun))
        for fun in vars(recipes).values()
        if inspect.isfunction(fun) and fun.__module__ == recipes.__name__
    ]
    assert shown == written


def test_the_pages_code_runs_in_order():
    scope = {}
    for text in blocks():
        exec(text, scope)
    params = two_layers()[1]
    assert optax.tree.get_all_with_path(scope["tx"].init(params), "weights")
