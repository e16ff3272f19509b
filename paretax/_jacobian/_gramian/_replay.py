"""A program run again with taps: a zero is added at each site, its input is kept.

The derivative in an added zero is the cotangent of the site's result, for each round of
each loop around it: no gradient of a parameter has to be formed to get it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from paretax._jacobian._gramian._flat import Flat, Step, inner, run
from paretax._jacobian._gramian._site import Site
from paretax._jacobian._gramian._sites import scan_counts

__all__ = ["Taps", "replay", "zeros_at"]

Taps = dict[int, Site]
"""Sites by the position of their leaf; `path` counts from the program that is run."""


def zeros_at(site: Site) -> Any:
    """The zero that is added at a site: one for each round of the loops around it."""
    return jnp.zeros(
        (*(level.length for level in site.levels), *site.shape), site.dtype
    )


def replay(flat: Flat, steps, env: dict[int, Any], taps: Taps, added) -> dict[int, Any]:
    """Runs the steps in the environment, which it fills.

    Args:
      flat: the program.
      steps: positions of the steps to run, in order.
      env: values by number; results are put here.
      taps: the sites in this program.
      added: by the same keys, what is added at each site.

    Returns:
      By the same keys, the other operand of each site's product.
    """
    kept: dict[int, Any] = {}
    for k in steps:
        step = flat.steps[k]
        here = {key: site for key, site in taps.items() if site.path[0] == k}
        if not here:
            run(step, env)
        elif inner(step) is None:
            run(step, env)
            for key, site in here.items():
                operand = step.inputs[1 - site.operand]
                assert not isinstance(operand, Literal)
                kept[key] = env[operand]
                env[step.outputs[0]] = env[step.outputs[0]] + added[key]
        else:
            below = {
                key: site._replace(path=site.path[1:]) for key, site in here.items()
            }
            kept.update(_run_body(step, env, below, {key: added[key] for key in here}))
    return kept


def _run_body(step: Step, env, taps: Taps, added) -> dict[int, Any]:
    body = inner(step)
    assert body is not None
    values = [x.val if isinstance(x, Literal) else env[x] for x in step.inputs]

    def once(arguments, extra):
        local = {**body.consts, **dict(zip(body.inputs, arguments, strict=True))}
        kept = replay(body, range(len(body.steps)), local, taps, extra)
        outputs = [x.val if isinstance(x, Literal) else local[x] for x in body.outputs]
        return outputs, kept

    again = _scan if step.eqn.primitive.name == "scan" else _remat
    with step.eqn.ctx.manager:
        outputs, kept = again(step, once, values, added)
    env.update(zip(step.outputs, outputs, strict=True))
    return kept


def _scan(step: Step, once, values, added):
    params = step.eqn.params
    consts, carried = scan_counts(step.eqn)
    fixed, carry, sliced = (
        values[:consts],
        values[consts : consts + carried],
        values[consts + carried :],
    )

    def body(carry, slices):
        own, extra = slices
        outputs, kept = once([*fixed, *carry, *own], extra)
        return outputs[:carried], (outputs[carried:], kept)

    carry, (stacked, kept) = jax.lax.scan(
        body,
        carry,
        (sliced, added),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *stacked], kept


def _remat(step: Step, once, values, added):
    params = step.eqn.params
    again = jax.checkpoint(
        once, prevent_cse=params["prevent_cse"], policy=params["policy"]
    )
    return again(values, added)
