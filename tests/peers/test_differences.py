"""Where the two differ on purpose: each difference is as the table describes it."""

import numpy as np
import pytest
from peers.pairs import DELIBERATE
from peers.sides import numbers, on_gram, on_jac, run_ours, run_theirs

import paretax as px
from paretax import coordinatewise

pytestmark = pytest.mark.filterwarnings("ignore")


def test_every_difference_has_a_test_of_its_name():
    missing = [name for name in DELIBERATE if f"test_{name}" not in globals()]
    assert not missing
    assert all(len(reason) > 40 for reason in DELIBERATE.values())


def first(values):
    return values[:, 0]


def square(gram, w):
    """‖Jᵀw‖²."""
    return np.einsum("cm,cmk,ck->c", w, gram, w)


def relative_gains(gram, w):
    """gᵢᵀd / (‖gᵢ‖ ‖d‖)."""
    norms = np.sqrt(np.einsum("cmm->cm", gram))
    length = np.sqrt(np.maximum(square(gram, w), 1e-300))
    return np.einsum("cmk,ck->cm", gram, w) / norms / length[:, None]


def test_mgda_is_the_shortest_vector(t):
    theirs = lambda t, m: on_gram(t.aggregation.MGDAWeighting())
    further = 0
    for m in (3, 5):
        for kind in ("random", "nasty"):
            x = numbers(kind, m, 24)
            gram = first(x["gram"])
            w = first(run_ours(lambda m: px.mgda(), m, x))
            v = first(run_theirs(theirs, t, m, x))
            longest = np.einsum("cmm->cm", gram).max(1)
            image = np.einsum("cmk,ck->cm", gram, w)
            # Ours is optimal: gᵢᵀd ≥ ‖d‖² for every task.
            assert (image.min(1) >= square(gram, w) - 1e-10 * longest).all()
            assert (square(gram, w) <= square(gram, v) + 1e-12 * longest).all()
            # Theirs lies within its own duality gap of ours: ‖d − d'‖² ≤ gap.
            gap = square(gram, v) - np.einsum("cmk,ck->cm", gram, v).min(1)
            assert (square(gram, w - v) <= gap + 1e-12 * longest).all()
            further += (square(gram, v) > 1.001 * square(gram, w)).sum()
    assert further > 10


def test_nash_mtl_solves_its_equation_on_uneven_norms(t):
    x = numbers("decades", 3, 15)
    gram = first(x["gram"])
    full = np.linalg.matrix_rank(first(x["jac"]), tol=None) == 3
    made = px.nash_mtl(max_norm=None)
    w = first(run_ours(lambda m: made, 3, x))
    peer = lambda t, m: on_jac(t.aggregation.NashMTL(n_tasks=m, max_norm=0.0).weighting)
    v = first(run_theirs(peer, t, 3, x))
    # Theirs solves for the Gramian over its norm.
    v = v / np.sqrt(np.linalg.norm(gram, axis=(1, 2)))[:, None]
    ours, theirs = (
        np.abs(u * np.einsum("cmk,ck->cm", gram, u) - 1).max(1)[full] for u in (w, v)
    )
    assert ours.max() < 1e-9
    assert np.median(theirs) > 1e-2


def test_upgrad_and_dual_proj_have_no_ridge(t):
    peers = {
        "upgrad": lambda t, m: on_gram(t.aggregation.UPGradWeighting()),
        "dual_proj": lambda t, m: on_gram(t.aggregation.DualProjWeighting()),
    }
    for name, peer in peers.items():
        harmed = 0
        for kind in ("random", "nasty"):
            x = numbers(kind, 3, 60)
            gram = first(x["gram"])
            w = first(run_ours(lambda m, name=name: getattr(px, name)(), 3, x))
            v = first(run_theirs(peer, t, 3, x))
            kept = square(gram, w) > 1e-8 * np.einsum("cmm->cm", gram).max(1)
            assert (relative_gains(gram, w)[kept] > -1e-7).all()
            harmed += (relative_gains(gram, v)[kept].min(1) < -1e-4).sum()
        assert harmed > 10, name


def test_cagrad_of_small_gradients_is_not_zero(t):
    x, small = (numbers("random", 3, 10, scale=scale) for scale in (1.0, 1e-4))
    peer = lambda t, m: on_gram(t.aggregation.CAGradWeighting(c=0.4))
    ours = lambda m: px.cagrad(c=0.4)
    np.testing.assert_allclose(
        run_ours(ours, 3, small), run_ours(ours, 3, x), rtol=1e-5, atol=1e-8
    )
    assert (run_theirs(peer, t, 3, small) == 0).all()


def test_krum_sums_squared_distances(t):
    m, q = 7, 1
    x = numbers("random", m, 200)
    jac = first(x["jac"])
    distances = np.linalg.norm(jac[:, :, None] - jac[:, None], axis=-1)
    nearest = np.sort(distances, axis=-1)[..., 1 : m - 1]  # itself and the farthest off
    chosen = {power: (nearest**power).sum(-1).argmin(-1) for power in (1, 2)}
    ours = first(run_ours(lambda m: px.krum(num_selected=q), m, x))
    peer = lambda t, m: on_gram(t.aggregation.KrumWeighting(0, q))
    theirs = first(run_theirs(peer, t, m, x))
    assert (ours.argmax(1) == chosen[2]).all()
    assert (theirs.argmax(1) == chosen[1]).all()
    assert (chosen[1] != chosen[2]).any()


def test_excess_mtl_begins_with_its_own_baseline(t):
    x = numbers("random", 3, 10, steps=3)
    other = {**x, "jac": x["jac"] * np.array([1.0, 1.0, 50.0])[:, None]}
    weighting = lambda t, m: on_jac(t.aggregation.ExcessMTL().weighting)
    before, after = (run_theirs(weighting, t, 3, each) for each in (x, other))
    assert (np.abs(before[:, 0] - after[:, 0]).max(-1) > 0.1).mean() > 0.5
    make = lambda m: coordinatewise.excess_mtl(m)
    before, after = (run_ours(make, 3, each) for each in (x, other))
    np.testing.assert_allclose(before[:, 0], x["jac"][:, 0].mean(1), atol=1e-9)
    np.testing.assert_allclose(after[:, 0], other["jac"][:, 0].mean(1), atol=1e-9)


def test_sdmgrad_and_pcd_know_no_unit(t):
    peers = {
        "sdmgrad": lambda t, m: on_gram(t.aggregation.SDMGradWeighting(), "cross_gram"),
        "pcd": lambda t, m: on_gram(t.aggregation.PCDWeighting(tau=0.5)),
    }
    makes = {"sdmgrad": lambda m: px.sdmgrad(), "pcd": lambda m: px.pcd(tau=0.5)}
    x, small = (numbers("random", 3, 10, scale=scale) for scale in (1.0, 1e-5))
    for name, make in makes.items():
        ours = [run_ours(make, 3, each) for each in (x, small)]
        theirs = [run_theirs(peers[name], t, 3, each) for each in (x, small)]
        np.testing.assert_allclose(ours[0], ours[1], rtol=1e-6, atol=1e-9)
        assert (np.abs(theirs[0] - theirs[1]).max(-1) > 1e-2).any(), name
