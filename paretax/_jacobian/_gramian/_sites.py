"""Where a parameter enters a layer: the one product that its gradient factors at."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from paretax._jacobian._gramian._flat import Flat, inner, shaped
from paretax._jacobian._gramian._stages import Stages

__all__ = ["Level", "Site", "find_site"]

# Linear maps that only rearrange or round a parameter: inner products stay as they are.
_VIEWS = {
    "convert_element_type", "transpose", "reshape", "squeeze", "expand_dims",
    "broadcast_in_dim", "copy", "copy_p", "name", "pvary",
}  # fmt: skip
_MAX_KERNEL = 128  # offsets of a convolution's kernel that are written out one by one


class Level(NamedTuple):
    """A loop around a site: does each round have its own slice of the parameter?"""

    own: bool
    length: int


class Site(NamedTuple):
    """The single product that a parameter enters.

    Attributes:
      kind: "dense", "convolution" or "embedding".
      eqn: the product.
      operand: which operand the parameter is.
      path: the step of the program, then of the body of each loop, that leads there.
      views: what is done with the parameter on the way: equations, and levels where
        the parameter enters a loop.
      levels: the loops around the site, outermost first.
      shape: shape of the product's result, without the loops' axes.
      dtype: its type.
    """

    kind: str
    eqn: JaxprEqn
    operand: int
    path: tuple[int, ...]
    views: tuple[JaxprEqn | Level, ...]
    levels: tuple[Level, ...]
    shape: tuple[int, ...]
    dtype: Any


def find_site(flat: Flat, leaf: int, stages: Stages | None = None) -> Site | str:
    """The site of a parameter, or in words why it has none.

    Args:
      flat: the program, or the body of a loop in it.
      leaf: the number of the parameter's value.
      stages: for the program itself: a site stands in the trunk, and steps that serve
        no loss do not count.
    """
    rest = () if stages is None else stages.rest
    uses = [
        (k, position)
        for k, step in enumerate(flat.steps)
        for position, atom in enumerate(step.inputs)
        if isinstance(atom, int) and atom == leaf and k not in rest
    ]
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


def _kind(eqn: JaxprEqn, position: int) -> str | None:
    other = eqn.invars[1 - position] if len(eqn.invars) == 2 else None
    name = eqn.primitive.name
    if other is None or isinstance(other, Literal):
        return None
    if name == "dot_general":
        return "dense"
    if name == "conv_general_dilated" and position == 1:
        plain = eqn.params["batch_group_count"] == 1
        spatial = eqn.params["dimension_numbers"].rhs_spec[2:]
        offsets = 1
        for axis in spatial:
            offsets *= shaped(eqn.invars[1]).shape[axis]
        return "convolution" if plain and offsets <= _MAX_KERNEL else None
    if name == "gather" and position == 0 and _is_row_lookup(eqn):
        return "embedding"
    return None


def _is_row_lookup(eqn: JaxprEqn) -> bool:
    """Whether a gather reads whole rows `table[ids]`, whatever the shape of ids."""
    numbers, shape = eqn.params["dimension_numbers"], shaped(eqn.invars[0]).shape
    ids = shaped(eqn.invars[1])
    rank = ids.ndim - 1
    modes = jax.lax.GatherScatterMode
    mode = modes.from_any(eqn.params["mode"])
    return (
        numbers.collapsed_slice_dims == (0,)
        and numbers.start_index_map == (0,)
        and not numbers.operand_batching_dims
        and ids.shape[-1:] == (1,)
        and tuple(eqn.params["slice_sizes"]) == (1, *shape[1:])
        and numbers.offset_dims == tuple(range(rank, rank + len(shape) - 1))
        and mode in (modes.FILL_OR_DROP, modes.CLIP, modes.PROMISE_IN_BOUNDS)
    )
