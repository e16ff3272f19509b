"""How good a front is, how alike partitions are, and gains over a baseline."""

from paretax.metrics._angle import cross_angle
from paretax.metrics._auc import auc
from paretax.metrics._distances import igd, igd_plus
from paretax.metrics._gain import relative_gain
from paretax.metrics._host import host_hypervolume
from paretax.metrics._hypervolume import hypervolume
from paretax.metrics._pareto import nondominated_fraction, pareto_mask
from paretax.metrics._partitions import adjusted_rand_index
from paretax.metrics._spread import generalized_spread, spacing, spread

__all__ = [
    "adjusted_rand_index",
    "auc",
    "cross_angle",
    "generalized_spread",
    "host_hypervolume",
    "hypervolume",
    "igd",
    "igd_plus",
    "nondominated_fraction",
    "pareto_mask",
    "relative_gain",
    "spacing",
    "spread",
]
