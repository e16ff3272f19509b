"""Small dense inner problems, solved on the device, each answer with a certificate."""

from paretax._types import Solution
from paretax.solvers._bargain import bargain
from paretax.solvers._concave_convex import concave_convex
from paretax.solvers._condition import Conditioned, condition
from paretax.solvers._min_norm import min_norm
from paretax.solvers._nonnegative import nonnegative_qp
from paretax.solvers._project_cone import project_cone
from paretax.solvers._project_simplex import project_simplex
from paretax.solvers._quadratic import lp, qp
from paretax.solvers._spectral import InverseRoot, inverse_root, pseudo_solve
from paretax.solvers._trade_off import trade_off

__all__ = [
    "Conditioned",
    "InverseRoot",
    "Solution",
    "bargain",
    "concave_convex",
    "condition",
    "inverse_root",
    "lp",
    "min_norm",
    "nonnegative_qp",
    "project_cone",
    "project_simplex",
    "pseudo_solve",
    "qp",
    "trade_off",
]
