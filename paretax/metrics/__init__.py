"""How good a front is."""

from paretax.metrics._hypervolume import hypervolume
from paretax.metrics._pareto import pareto_mask

__all__ = ["hypervolume", "pareto_mask"]
