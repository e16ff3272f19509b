"""Do two methods differ? A paired test over data sets and seeds."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["paired_tests", "signed_rank"]


def signed_rank(differences: np.ndarray) -> float:
    """The two-sided p of Wilcoxon's signed-rank test; exact up to 12 differences.

    Differences of 0 are left out. Up to 12 that remain all 2ⁿ signs are gone through,
    with mean ranks for ties; beyond, scipy's distribution.

    Args:
      differences: shape [n].

    Returns:
      p in (0, 1]; 1 where nothing differs. With n pairs it is at least 2^(1 − n).

    Example:
      >>> import numpy as np
      >>> signed_rank(np.array([0.1, 0.4, 0.2, 0.3]))
      0.125

    Cost: 2ⁿ·n operations for n ≤ 12.

    Reference: Wilcoxon, "Individual comparisons by ranking methods", Biometrics
    Bulletin 1 (1945); for methods over data sets, Demšar, "Statistical comparisons of
    classifiers over multiple data sets", JMLR 7 (2006).
    """
    kept = differences[differences != 0]
    if len(kept) == 0:
        return 1.0
    if len(kept) > 12:
        method = "exact" if len(np.unique(abs(kept))) == len(kept) else "approx"
        found: Any = stats.wilcoxon(kept, method=method)
        return float(found.pvalue)
    ranks = stats.rankdata(abs(kept))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(kept))))
    found = abs(np.sign(kept) @ ranks)
    return float(np.mean(abs(signs @ ranks) >= found - 1e-9))  # sums of halves


def paired_tests(
    deltas: Mapping[str, Mapping[tuple[str, int], float]],
) -> list[dict[str, Any]]:
    """Every pair of methods, by Δm % on the same data set with the same seed.

    Args:
      deltas: method → (data set, seed) → Δm %.

    Returns:
      One row a pair: a, b, pairs (their number), difference (the median of a's Δm minus
      b's), p, and p_holm, corrected for the number of pairs of methods by Holm's step
      down. Seeds of one data set share its data, so p is a guide and no proof.

    Cost: that of `signed_rank` for each pair.
    """
    rows = []
    for a, b in itertools.combinations(deltas, 2):
        keys = [k for k in deltas[a] if k in deltas[b]]
        found = np.array([deltas[a][key] - deltas[b][key] for key in keys])
        found = found[np.isfinite(found)]
        rows.append(
            {
                "a": a,
                "b": b,
                "pairs": len(found),
                "difference": float(np.median(found)) if len(found) else None,
                "p": signed_rank(found),
            }
        )
    worst = 0.0
    for place, row in enumerate(sorted(rows, key=lambda row: row["p"])):
        worst = max(worst, min(1.0, row["p"] * (len(rows) - place)))
        row["p_holm"] = worst
    return rows
