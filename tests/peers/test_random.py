"""Random methods against TorchJD's: every outcome that its random numbers can give."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers.pairs import RANDOM
from peers.sides import numbers, run_ours

import paretax as px
from paretax import coordinatewise

KEYS = 2000


def test_every_random_method_of_the_table_has_a_test_here():
    missing = [n for n in RANDOM if not any(n in name for name in globals())]
    assert not missing


def over_keys(make, m, jac):
    """What `make(key)` gives in its first step on one J, for many keys."""

    def one(key):
        made = make(key)
        if isinstance(made, px.Weighting):
            gram = jac @ jac.T
            return made.update(gram, made.init(m), losses=jnp.ones(m))[0]
        return made.update(jac, made.init(jac[0]), losses=jnp.ones(m))[0]

    with jax.enable_x64(True):
        jac = jnp.asarray(jac)
        keys = jax.random.split(jax.random.key(7), KEYS)
        return np.asarray(jax.jit(jax.vmap(one))(keys))


def conflicting(m):
    """A Jacobian on which the order matters."""
    rows = np.random.default_rng(m).normal(size=(m, m + 2))
    return rows - 0.9 * rows.mean(0)


def outcomes(t, monkeypatch, make, jac, length):
    """Theirs for every choice of one order a task."""
    m = len(jac)
    gram = t.tensor(jac @ jac.T)
    orders = list(itertools.permutations(range(length)))
    out = []
    for choice in itertools.product(orders, repeat=m):
        given = iter(choice)
        monkeypatch.setattr(
            t.torch, "randperm", lambda n, given=given: t.torch.tensor(next(given))
        )
        out.append(make()(gram).numpy())
    return np.array(out)


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_pcgrad_and_gradvac_draw_from_all_orders_alike(t, monkeypatch, name):
    jac = conflicting(3)
    theirs, length = {
        "pcgrad": (t.aggregation.PCGradWeighting, 3),
        "gradvac": (t.aggregation.GradVacWeighting, 2),
    }[name]
    possible = outcomes(t, monkeypatch, theirs, jac, length)
    ours = over_keys(lambda key: getattr(px, name)(key=key), 3, jac)
    distance = np.abs(ours[:, None] - possible).max(-1)
    assert distance.min(1).max() < 1e-6
    # Each order is equally likely, so each outcome has its share of the keys.
    different = np.unique(possible.round(6), axis=0)
    assert len(different) >= 4
    for outcome in different:
        share = (np.abs(possible - outcome).max(1) < 2e-6).mean()
        found = (np.abs(ours - outcome).max(1) < 2e-6).mean()
        assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / KEYS)


@pytest.mark.parametrize("name", ["rgw", "rlw"])
def test_rgw_and_rlw_have_the_distribution_of_theirs(t, name):
    m = 3
    ours = over_keys(lambda key: getattr(px, name)(key=key), m, conflicting(m))
    t.torch.manual_seed(0)
    scalarizer, weighting = t.scalarization.Random(), t.aggregation.RandomWeighting()
    theirs = []
    for _ in range(KEYS):
        if name == "rgw":
            theirs.append(weighting(t.torch.zeros(m, m).double()).numpy())
        else:
            values = t.torch.ones(m).double().requires_grad_()
            scalarizer(values).backward()
            theirs.append(values.grad.numpy())
    theirs = np.array(theirs)
    np.testing.assert_allclose(ours.sum(1), theirs.sum(1), rtol=1e-6)
    for i in range(m):
        assert kolmogorov_smirnov(ours[:, i], theirs[:, i]) < 1.95 * np.sqrt(2 / KEYS)
    # And tasks are drawn independently: the same spread of log-ratios.
    ratios = [np.log(w[:, 0] / w[:, 1]).std() for w in (ours, theirs)]
    np.testing.assert_allclose(ratios, np.sqrt(2), rtol=0.1)


def kolmogorov_smirnov(x, y):
    """The largest distance of two empirical distribution functions."""
    both = np.concatenate([x, y])
    x, y = np.sort(x), np.sort(y)
    apart = np.searchsorted(x, both, "right") / len(x)
    return np.abs(apart - np.searchsorted(y, both, "right") / len(y)).max()


@pytest.mark.parametrize("leak", [None, [0.0, 0.3, 1.0]])
def test_graddrop_keeps_the_same_signs_with_the_same_chances(t, monkeypatch, leak):
    jac = conflicting(3)
    jac[:, 0] = np.abs(jac[:, 0])
    share = 0.0 if leak is None else np.array(leak)
    ours = over_keys(
        lambda key: coordinatewise.graddrop(3, key=key, leak=share), 3, jac
    )
    peer = t.aggregation.GradDrop(leak=None if leak is None else t.tensor(leak))
    sides = []
    for level in (0.0, 1.0):  # all positive entries, all negative ones
        monkeypatch.setattr(
            t.torch, "rand", lambda n, level=level, **_: t.torch.full(n, level).double()
        )
        sides.append(peer(t.tensor(jac)).numpy())
    positive, negative = sides
    up = np.abs(ours - positive) < 1e-9
    assert (up | (np.abs(ours - negative) < 1e-9))[:, 1:].all()
    assert up[:, 0].all()
    chance = 0.5 * (1 + jac.sum(0) / np.abs(jac).sum(0))
    slack = 5 * np.sqrt(chance * (1 - chance) / KEYS) + 1e-12
    assert (np.abs(up.mean(0) - chance) <= slack).all()


def test_graddrop_is_theirs_where_all_tasks_agree_in_sign(t):
    x = numbers("random", 4, 20)
    x["jac"] = np.abs(x["jac"][:, :, :, :6]) * np.array([1, -1, 1, -1, 1, -1])
    make = lambda m: coordinatewise.graddrop(m, key=jax.random.key(0))
    ours = run_ours(make, 4, x)[:, 0]
    theirs = [t.aggregation.GradDrop()(t.tensor(j[0])).numpy() for j in x["jac"]]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
