"""Where a parameter enters a layer: the one product that its gradient factors at."""

import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from paretax._jacobian._gramian._convolution import CONVOLUTION
from paretax._jacobian._gramian._dense import DENSE
from paretax._jacobian._gramian._embedding import EMBEDDING
from paretax._jacobian._gramian._flat import Flat, inner, shaped
from paretax._jacobian._gramian._site import Kind, Level, Site
from paretax._jacobian._gramian._stages import Stages

__all__ = ["find_site", "scan_counts"]

_KINDS = (DENSE, CONVOLUTION, EMBEDDING)

# Linear maps that only rearrange or round a parameter: inner products stay as they are.
_VIEWS = {
    "convert_element_type", "transpose", "reshape", "squeeze", "expand_dims",
    "broadcast_in_dim", "copy", "copy_p", "name", "pvary",
}  # fmt: skip


def find_site(flat: Flat, leaf: int, stages: Stages | None = None) -> Site | str:
    """The site of a parameter, or in words why it has none.

    Args:
      flat: the program, or the body of a loop in it.
      leaf: the number of the parameter's value.
      stages: for the program itself: a site stands in the trunk, and steps that serve
        no loss do not count.
    """
    rest = () if stages is None else stages.rest
    uses = [use for use in flat.uses.get(leaf, ()) if use[0] not in rest]
    results = flat.outputs if stages is None else flat.outputs[:1]
    if leaf in [atom for atom in results if isinstance(atom, int)]:
        return "is returned as it is"
    if len(uses) != 1:
        return f"is used {len(uses)} times"
    (k, position), step = uses[0], flat.steps[uses[0][0]]
    name = step.eqn.primitive.name
    if stages is not None and k not in stages.trunk:
        return "is read by one task's head"
    if name in _VIEWS and _keeps_size(step.eqn):
        site = find_site(flat, step.outputs[0], stages)
        if isinstance(site, str):
            return site
        return site._replace(views=(step.eqn, *site.views))
    kind = _kind(step.eqn, position)
    if kind is not None:
        aval = flat.avals[step.outputs[0]]
        return Site(kind, step.eqn, position, (k,), (), (), aval.shape, aval.dtype)
    body = inner(step)
    if body is None:
        return f"enters {name}"
    return _inside(step.eqn, body, k, position)


def _inside(eqn: JaxprEqn, body: Flat, k: int, position: int) -> Site | str:
    """The site in the body of a scan or of a checkpointed call."""
    level = None
    if eqn.primitive.name == "scan":
        level = _level(eqn, position)
        if level is None:
            return "is carried from round to round of a scan"
    site = find_site(body, body.inputs[position])
    if isinstance(site, str):
        return f"{site} in a {eqn.primitive.name}"
    site = site._replace(path=(k, *site.path))
    if level is None:
        return site
    return site._replace(views=(level, *site.views), levels=(level, *site.levels))


def _level(eqn: JaxprEqn, position: int) -> Level | None:
    consts, carried = scan_counts(eqn)
    if consts <= position < consts + carried:
        return None
    return Level(own=position >= consts, length=eqn.params["length"])


def scan_counts(eqn: JaxprEqn) -> tuple[int, int]:
    """How many operands of a scan are constant, and how many are carried."""
    return eqn.params["num_consts"], eqn.params["num_carry"]


def _keeps_size(eqn: JaxprEqn) -> bool:
    before, after = shaped(eqn.invars[0]), shaped(eqn.outvars[0])
    same = before.size == after.size and len(eqn.invars) == 1
    return same and jnp.issubdtype(after.dtype, jnp.floating)


def _kind(eqn: JaxprEqn, position: int) -> Kind | None:
    if len(eqn.invars) != 2 or isinstance(eqn.invars[1 - position], Literal):
        return None
    return next((kind for kind in _KINDS if kind.matches(eqn, position)), None)
