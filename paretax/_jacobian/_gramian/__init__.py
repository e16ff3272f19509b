"""The Gramian engine: K = J Jᵀ of any function, without J.

Reading order:
- `_flat`: a traced function as a list of steps; `_stages`: which steps serve which
  tasks.
- `_site`: what a layer is; `_dense`, `_convolution`, `_embedding`: its kinds; `_sites`:
  finds where a parameter enters one; `_layers`: the algebra there.
- `_plan`: which way each parameter goes.
- `_program`: all of that for one function; `_replay` and `_backward`: one forward pass
  and all ways back; `_engine`: K; `_pullback`: the weighted gradient.
- `_devices`: a batch split over devices; `_instances`: rows for examples and tasks.
"""

from paretax._jacobian._gramian._devices import AxisName, axis_size
from paretax._jacobian._gramian._engine import gramian_of, rows_of, weighted_of
from paretax._jacobian._gramian._instances import (
    for_instances,
    instances_of,
    pull_back_instances,
)
from paretax._jacobian._gramian._plan import (
    ROUTES,
    LeafPlan,
    goes_again,
    plan_leaves,
)
from paretax._jacobian._gramian._program import Program, program
from paretax._jacobian._gramian._pullback import pull_back, way_back

__all__ = [
    "ROUTES",
    "AxisName",
    "LeafPlan",
    "Program",
    "axis_size",
    "for_instances",
    "goes_again",
    "gramian_of",
    "instances_of",
    "plan_leaves",
    "program",
    "pull_back",
    "pull_back_instances",
    "rows_of",
    "way_back",
    "weighted_of",
]
