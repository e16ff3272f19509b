"""Toy problems with known fronts: losses, starts, and the front to end on."""

from paretax.problems._dtlz import dtlz2
from paretax.problems._logic import (
    LogicBatch,
    LogicOperators,
    first_converged,
    logic_operators,
)
from paretax.problems._nash_toy import nash_toy
from paretax.problems._problem import Front, Problem
from paretax.problems._quadratics import Quadratics, quadratics
from paretax.problems._vlmop import vlmop1, vlmop2
from paretax.problems._zdt import zdt1

__all__ = [
    "Front",
    "LogicBatch",
    "LogicOperators",
    "Problem",
    "Quadratics",
    "dtlz2",
    "first_converged",
    "logic_operators",
    "nash_toy",
    "quadratics",
    "vlmop1",
    "vlmop2",
    "zdt1",
]
