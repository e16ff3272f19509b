"""How far to mix with neighbors, and how far to step, from gradients and parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax.ensembles._couplings import Coupling
from paretax.ensembles._mixing import isolate, wide_type
from paretax.ensembles._slices import over_slices

__all__ = ["MeasuredNeighbors", "neighbor_rule", "newest_share"]

_BIAS_COUNTS = 2.0  # a lasting pull against one that comes and goes
_UP, _DOWN = 2.0, 6.0  # of the logit, in a window of one-sided evidence
_LENGTH_STEPS = 10  # the step length is a mean over about so many steps
_LEAST, _MOST = -10.0, 4.0  # of the logit; the strength is 0 at the first


class MeasuredNeighbors(NamedTuple):
    """What `adaptive_transfer` has measured, running means, one entry a member.

    Attributes:
      signal: squared length of the mean of the neighbors' gradients, without noise.
      noise: variance of a neighbor's gradient about that mean, summed over parameters.
      merit: ⟨gradient, pull⟩, the pull being the neighbors' mean less the member;
        negative where the pull lowers the member's own objective.
      bias: the same with the pull between running means: what of it lasts.
      length: squared length of the optimizer's step.
      logit: log(strength/(1 − strength)), in [−10, 4].
      strength: a in [0, 1), the share of the neighborhood in M.
      gain: ≥ 1, the factor on the next step.
    """

    signal: Float[Array, " k"]
    noise: Float[Array, " k"]
    merit: Float[Array, " k"]
    bias: Float[Array, " k"]
    length: Float[Array, " k"]
    logit: Float[Array, " k"]
    strength: Float[Array, " k"]
    gain: Float[Array, " k"]


def neighbor_rule(kernel, window, gain_power):
    """The coupling: it sees gradients, parameters and means, and keeps measurements."""

    def update(seen, state):
        old, steps, finite, length = state
        shares = isolate(kernel, finite)
        share = newest_share(window, steps)
        signal, noise, merit, bias = [
            jnp.where(jnp.isfinite(new), before + (new - before) * share, before)
            for before, new in zip(old[:4], _measured(shares, *seen), strict=True)
        ]
        length = shares @ jnp.where(finite, length, 0.0)
        length = old.length + (length - old.length) * newest_share(_LENGTH_STEPS, steps)
        against = _over(
            merit + _BIAS_COUNTS * bias, abs(merit) + _BIAS_COUNTS * abs(bias)
        )
        speed = jnp.where(against > 0, _DOWN, _UP) / window
        logit = old.logit - speed * against
        logit = logit + 2 * _log_ratio(length, old.length)
        logit = jnp.clip(logit, _LEAST, _MOST)
        strength = jnp.where(logit > _LEAST, jax.nn.sigmoid(logit), 0.0)
        matrix = jnp.diag(1 - strength) + strength[:, None] * shares
        left, clean = jnp.sum(matrix**2, axis=1), jnp.maximum(signal, 0.0)
        gain = _over(noise + clean, left * noise + clean, 1.0) ** gain_power
        return matrix, MeasuredNeighbors(
            signal, noise, merit, bias, length, logit, strength, gain
        )

    return Coupling(lambda params: _start(len(kernel)), update)


def _start(k):
    """Members mix as much as they may; a buffer each, since a state may be donated."""
    full = jnp.full(k, _MOST)
    return MeasuredNeighbors(
        signal=jnp.zeros(k),
        noise=jnp.zeros(k),
        merit=jnp.zeros(k),
        bias=jnp.zeros(k),
        length=jnp.zeros(k),
        logit=full,
        strength=jax.nn.sigmoid(full),
        gain=jnp.ones(k),
    )


def _measured(shares, gradients, params, means):
    """Signal, noise, merit and bias of one step, each [k]."""
    others = (gradients, _centered(params), _centered(means))
    products = over_slices(jnp.stack([_products(gradients, x) for x in others]))
    own = jnp.diagonal(products, axis1=1, axis2=2)
    of_mean = jnp.sum((shares @ products[0]) * shares, axis=1)
    left = jnp.sum(shares**2, axis=1)
    noise = _over(shares @ own[0] - of_mean, 1 - left)
    merit, bias = jnp.sum(shares * products[1:], axis=2) - own[1:]
    return of_mean - left * noise, noise, merit, bias


def _centered(leaves):
    """Members are close, and differences of inner products with them are asked for."""
    return [leaf - jnp.mean(leaf, axis=0) for leaf in leaves]


def _products(gradients, others):
    """⟨g_i, x_j⟩ at [i, j], summed over the leaves."""
    total = 0.0
    for pair in zip(gradients, others, strict=True):
        wide = wide_type(pair[0])
        g, x = (leaf.reshape(len(leaf), -1).astype(wide) for leaf in pair)
        total = total + jnp.dot(g, x.T, precision=jax.lax.Precision.HIGHEST)
    return total


def _log_ratio(new, old):
    """log(new/old); 0 where one of them is 0."""
    known = (new > 0) & (old > 0)
    return jnp.log(jnp.where(known, new, 1.0)) - jnp.log(jnp.where(known, old, 1.0))


def newest_share(window, steps):
    """The newest value's part in a running mean that begins as the plain one."""
    return jnp.maximum(1 / window, 1 / (steps + 1.0))


def _over(x, y, otherwise=0.0):
    """x/y, and something else where y is 0."""
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1.0), otherwise)
