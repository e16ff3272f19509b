"""paretax: learning many tasks at once in JAX."""

from paretax import coordinatewise, scalarizations, solvers, weightings
from paretax._combine import combine, per_task
from paretax._direction import value_and_direction
from paretax._jacobian import (
    GramianPlan,
    LeafRoute,
    contract,
    cross_gramian,
    explain_gramian,
    feature_gramian,
    gramian,
    value_and_gradient,
    value_and_gramian,
    value_and_jacobian,
)
from paretax._version import __version__
from paretax._weighting import Weighting, WeightingState, from_losses, stateless
from paretax.weightings import *  # noqa: F403 (the root holds every weighting)

__all__ = [
    "GramianPlan",
    "LeafRoute",
    "Weighting",
    "WeightingState",
    "__version__",
    "combine",
    "contract",
    "coordinatewise",
    "cross_gramian",
    "explain_gramian",
    "feature_gramian",
    "from_losses",
    "gramian",
    "per_task",
    "scalarizations",
    "solvers",
    "stateless",
    "value_and_direction",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
    "weightings",
]

__all__ += weightings.__all__
