"""A function of parameters, traced, sorted into stages and planned leaf by leaf."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array

from paretax._checks import check_losses
from paretax._jacobian._gramian._devices import (
    AxisName,
    check_alike,
    check_axes,
    vary,
)
from paretax._jacobian._gramian._flat import Flat, trace
from paretax._jacobian._gramian._stages import Stages, stages

__all__ = ["Program", "program"]


class Program(NamedTuple):
    """Losses of parameters, ready to be run forward and backward task by task.

    Attributes:
      flat: the steps; results are the losses and the leaves of the auxiliary output.
      stages: trunk, heads, and what passes between them.
      leaves: the parameters' values.
      names: their key paths.
      treedef: their structure.
      num_tasks: m.
      axis_name: the mesh axes that the batch is split over, or None.
      finish: results of the steps -> what the function returns.
    """

    flat: Flat
    stages: Stages
    leaves: list[Array]
    names: list[str]
    treedef: Any
    num_tasks: int
    axis_name: AxisName
    finish: Callable


def program(
    fun: Callable,
    has_aux: bool,
    params,
    args: tuple = (),
    kwargs: dict | None = None,
    axis_name: AxisName = None,
) -> Program:
    """Traces `fun(params, *args, **kwargs)`; checks its parameters and its losses."""
    check_alike(params, axis_name)
    paths, treedef = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(path) for path, _ in paths]
    leaves = [
        vary(_floating(name, leaf), axis_name)
        for name, (_, leaf) in zip(names, paths, strict=True)
    ]
    seen = []

    def of_leaves(*values):
        out = fun(jax.tree.unflatten(treedef, values), *args, **(kwargs or {}))
        losses, aux = out if has_aux else (out, None)
        check_losses(losses)
        aux_leaves, aux_def = jax.tree.flatten(aux)
        seen.append((aux_def, losses.shape[0]))
        return [losses, *aux_leaves]

    flat = trace(of_leaves, *leaves)
    aux_def, m = seen[-1]
    check_axes(_aval(flat, flat.outputs[0]), axis_name)

    def finish(outputs):
        losses, *aux = outputs
        if axis_name is not None:
            losses = jax.lax.pmean(losses, axis_name)
        return (losses, jax.tree.unflatten(aux_def, aux)) if has_aux else losses

    plan = stages(flat, flat.inputs, m)
    return Program(flat, plan, leaves, names, treedef, m, axis_name, finish)


def _aval(flat: Flat, output) -> Any:
    return output.aval if isinstance(output, Literal) else flat.avals[output]


def _floating(name: str, leaf) -> Array:
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        raise ValueError(
            f"params{name}: expected a floating leaf, got {jnp.result_type(leaf)}; "
            "pass what is not trained as another argument."
        )
    return jnp.asarray(leaf)
