"""References in NumPy for weightings that walk on the simplex."""

import itertools

import numpy as np


def project(v):
    """The projection by brute force: the best face whose multipliers are feasible."""
    best, least = None, np.inf
    for size in range(1, len(v) + 1):
        for face in map(list, itertools.combinations(range(len(v)), size)):
            w = np.zeros(len(v))
            w[face] = v[face] - (v[face].sum() - 1) / size
            distance = np.sum((w - v) ** 2)
            if (w >= 0).all() and distance < least:
                best, least = w, distance
    return best


def among(mask, fun):
    """`fun` on the active tasks; the others keep their share of the simplex."""

    def step(multipliers):
        mass = multipliers[mask].sum()
        new = multipliers.copy()
        new[mask] = mass * fun(multipliers[mask] / mass)
        return new

    return step
