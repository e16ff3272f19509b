"""k members on a leading axis, trained together, handing parameters to one another."""

from paretax.ensembles._couplings import (
    Coupling,
    distance_coupling,
    fixed_coupling,
    neighbor_coupling,
    no_coupling,
)
from paretax.ensembles._per_member import per_member
from paretax.ensembles._preferences import das_dennis, uniform_simplex
from paretax.ensembles._transfer import TransferState, transfer

__all__ = [
    "Coupling",
    "TransferState",
    "das_dennis",
    "distance_coupling",
    "fixed_coupling",
    "neighbor_coupling",
    "no_coupling",
    "per_member",
    "transfer",
    "uniform_simplex",
]
