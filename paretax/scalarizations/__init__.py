"""m losses into one number, curried so that `jax.vmap` runs over preferences.

Each factory takes a preference and returns `scalarize(losses, *, active=None)`. Inside
`jax.vmap` over preferences the factory is called with a tracer, so an ensemble of k
subproblems is `jax.vmap(lambda p: linear(p)(losses))(preferences)`.
"""

from paretax.scalarizations._aasf import aasf
from paretax.scalarizations._cosmos import cosmos
from paretax.scalarizations._exponential import exponential_weighted_criterion
from paretax.scalarizations._hypervolume import (
    hypervolume_scalarization,
    log_hypervolume,
)
from paretax.scalarizations._linear import linear
from paretax.scalarizations._masked import Scalarization
from paretax.scalarizations._normalized import normalized
from paretax.scalarizations._pbi import pbi
from paretax.scalarizations._pnorm import pnorm
from paretax.scalarizations._smooth_tchebycheff import (
    log_smooth_tchebycheff,
    smooth_modified_tchebycheff,
    smooth_tchebycheff,
)
from paretax.scalarizations._tchebycheff import modified_tchebycheff, tchebycheff

__all__ = [
    "Scalarization",
    "aasf",
    "cosmos",
    "exponential_weighted_criterion",
    "hypervolume_scalarization",
    "linear",
    "log_hypervolume",
    "log_smooth_tchebycheff",
    "modified_tchebycheff",
    "normalized",
    "pbi",
    "pnorm",
    "smooth_modified_tchebycheff",
    "smooth_tchebycheff",
    "tchebycheff",
]
