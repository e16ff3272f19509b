"""k members on a leading axis, trained together, handing parameters to one another."""

from paretax.ensembles._adapt_then_combine import (
    AdaptThenCombineState,
    adapt_then_combine,
)
from paretax.ensembles._adaptive_transfer import (
    AdaptiveTransferState,
    adaptive_transfer,
)
from paretax.ensembles._combine_members import combine_members
from paretax.ensembles._couplings import (
    Coupling,
    distance_coupling,
    fixed_coupling,
    neighbor_coupling,
    no_coupling,
)
from paretax.ensembles._diagnostics import effective_donors, member_distances
from paretax.ensembles._each_member import Placement, each_member
from paretax.ensembles._epo import epo
from paretax.ensembles._even_out import even_out
from paretax.ensembles._hypervolume_gradient import hypervolume_gradient
from paretax.ensembles._joint import JointState, JointWeighting
from paretax.ensembles._local_rounds import LocalRounds, local_rounds
from paretax.ensembles._measured_neighbors import MeasuredNeighbors
from paretax.ensembles._moo_svgd import moo_svgd
from paretax.ensembles._pareto_mtl import ParetoMTLState, pareto_mtl
from paretax.ensembles._per_member import per_member
from paretax.ensembles._place import place
from paretax.ensembles._pmgda import pmgda
from paretax.ensembles._preferences import das_dennis, dirichlet, uniform_simplex
from paretax.ensembles._riesz import riesz_energy
from paretax.ensembles._slices import over_slices
from paretax.ensembles._transfer import TransferState, transfer

__all__ = [
    "AdaptThenCombineState",
    "AdaptiveTransferState",
    "Coupling",
    "JointState",
    "JointWeighting",
    "LocalRounds",
    "MeasuredNeighbors",
    "ParetoMTLState",
    "Placement",
    "TransferState",
    "adapt_then_combine",
    "adaptive_transfer",
    "combine_members",
    "das_dennis",
    "dirichlet",
    "distance_coupling",
    "each_member",
    "effective_donors",
    "epo",
    "even_out",
    "fixed_coupling",
    "hypervolume_gradient",
    "local_rounds",
    "member_distances",
    "moo_svgd",
    "neighbor_coupling",
    "no_coupling",
    "over_slices",
    "pareto_mtl",
    "per_member",
    "place",
    "pmgda",
    "riesz_energy",
    "transfer",
    "uniform_simplex",
]
