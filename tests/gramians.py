"""The hard cases by name: Jacobians [m, n] whose Gramians break solvers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """A named Jacobian, and what is known of it.

    Attributes:
      make: (rng, m, n) -> J of shape [m, n], float64.
      stationary: whether 0 lies in the convex hull of the rows.
    """

    make: Callable[[np.random.Generator, int, int], np.ndarray]
    stationary: bool = False


def _orthogonal(rng, m, n):
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return q[:m]


def _random(rng, m, n):
    rows = rng.normal(size=(m, n))
    return rows + 1.5 * rng.normal(size=n)


def _conflict(rng, m, n):
    rows = _random(rng, m, n)
    return rows - 0.8 * rows.mean(0)


def _duplicates(rng, m, n):
    rows = _random(rng, m, n)
    rows[m // 2 :] = rows[: m - m // 2]
    return rows


def _rank_one(rng, m, n):
    return rng.uniform(0.5, 2.0, size=(m, 1)) * rng.normal(size=n)


def _scaled(low, high):
    def make(rng, m, n):
        scales = np.logspace(low, high, m) if m > 1 else np.ones(1)
        return scales[:, None] * _orthogonalized(rng, m, n)

    return make


def _orthogonalized(rng, m, n):
    return _orthogonal(rng, m, n) + 0.3 * rng.normal(size=n) / np.sqrt(n)


def _opposite(rng, m, n):
    rows = _random(rng, m, n)
    if m > 1:
        rows[1] = -rows[0]
    else:
        rows[0] = 0.0
    return rows


def _strongly_stationary(rng, m, n):
    rows = rng.normal(size=(m, n))
    rows[-1] = -rows[:-1].mean(0) if m > 1 else 0.0
    return rows


def _dead_task(rng, m, n):
    rows = _random(rng, m, n)
    rows[0] = 0.0
    return rows


CASES = {
    "orthogonal": Case(_orthogonal),
    "random": Case(_random),
    "conflict": Case(_conflict),
    "duplicates": Case(_duplicates),
    "rank one": Case(_rank_one),
    "tiny": Case(lambda rng, m, n: 1e-10 * _random(rng, m, n)),
    "huge": Case(lambda rng, m, n: 1e10 * _random(rng, m, n)),
    "unbalanced": Case(_scaled(-4, 4)),
    "zero": Case(lambda rng, m, n: np.zeros((m, n)), stationary=True),
    "opposite": Case(_opposite, stationary=True),
    "strongly stationary": Case(_strongly_stationary, stationary=True),
    "dead task": Case(_dead_task, stationary=True),
}


def stack(m: int, *, stationary: bool | None = None, n: int | None = None):
    """All cases of that kind as one array [cases, m, n], and their names."""
    n = n or m + 3
    names = [
        name
        for name, case in CASES.items()
        if stationary is None or case.stationary == stationary
    ]
    rows = [
        CASES[name].make(np.random.default_rng([seed, m]), m, n)
        for seed, name in enumerate(names)
    ]
    return np.stack(rows), names


def nasty_jacobians(m, count, seed=0, decades=4.0):
    """Random Jacobians of norms over many decades, of low rank, with conflict."""
    rng = np.random.default_rng([seed, m])
    for i in range(count):
        n = (m + 3, max(1, m // 2), 50)[i % 3]
        rows = rng.normal(size=(m, n)) + rng.uniform(0, 2) * rng.normal(size=n)
        rows -= rng.uniform(0, 1.05) * rows.mean(0)
        yield rows * 10 ** rng.uniform(-decades, decades, size=(m, 1))


def nasty(m, count, seed=0, decades=4.0):
    """Their Gramians, stacked."""
    jacs = nasty_jacobians(m, count, seed, decades)
    return np.stack([rows @ rows.T for rows in jacs])
