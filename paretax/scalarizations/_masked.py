"""What every scalarization shares: its type, checks of points, and missing tasks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_preference, is_concrete
from paretax._types import Active, Losses, Weights

__all__ = [
    "Scalarization",
    "check_point",
    "check_positive_preference",
    "keep",
    "largest",
    "present",
    "show_nan",
    "smooth_largest",
]

Scalarization = Callable[..., Float[Array, ""]]
"""`scalarize(losses, *, active=None) -> scalar`; its derivative is a weighting."""


def check_point(
    name: str,
    point: Losses | ArrayLike,
    num_tasks: int | None = None,
    *,
    positive: bool = False,
) -> Array:
    """A point among the losses: a scalar, or one finite number a task."""
    value = jnp.asarray(point, dtype=float)
    shape = "[m]" if num_tasks is None else f"[{num_tasks}]"
    if value.ndim > 1 or (value.ndim == 1 and num_tasks not in (None, value.size)):
        raise ValueError(
            f"{name}: expected a number or shape {shape}, one entry a task, got shape "
            f"{value.shape}."
        )
    if is_concrete(value):
        numbers = np.asarray(value)
        if not np.all(np.isfinite(numbers)):
            raise ValueError(
                f"{name}: expected finite numbers, got {numbers.tolist()}."
            )
        if positive and not np.all(numbers > 0):
            raise ValueError(
                f"{name}: expected positive numbers, got {numbers.tolist()}."
            )
    return value


def check_positive_preference(preference: Weights | ArrayLike) -> Array:
    """A preference in the interior of the simplex, for those that divide by it."""
    p = check_preference(preference)
    if is_concrete(p) and not bool(jnp.all(p > 0)):
        raise ValueError(
            f"preference: expected positive entries, got {p.tolist()}, and this "
            "scalarization divides by them; mix in some of the uniform one, as in "
            "0.99 * p + 0.01 / m."
        )
    return p


def present(losses: Losses, active: Active | None, num_tasks: int) -> Array:
    """The losses, of the length of the preference; 0 for inactive tasks."""
    losses = jnp.asarray(losses)
    if losses.shape != (num_tasks,):
        raise ValueError(
            f"losses: expected shape ({num_tasks},), one entry for each of the "
            f"preference, got {losses.shape}."
        )
    return keep(losses, active, 0.0)


def keep(values: Array, active: Active | None, otherwise: float) -> Array:
    """The values of active tasks, and a constant for the others."""
    return values if active is None else jnp.where(active, values, otherwise)


def show_nan(values: Array) -> Array:
    """The values; all NaN if one is, for a maximum hides that from its derivative."""
    return values * jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, 1.0)


def largest(values: Array, active: Active | None) -> Array:
    """The maximum over the active tasks, 0 if none is; ties share the derivative."""
    top = jnp.max(keep(show_nan(values), active, -jnp.inf))
    return top if active is None else jnp.where(jnp.any(active), top, 0.0)


def smooth_largest(
    values: Array, active: Active | None, temperature: float | Array
) -> Array:
    """μ log Σᵢ exp(vᵢ/μ) over the active tasks, 0 if none is."""
    scaled = values / temperature
    if active is None:
        return temperature * jax.nn.logsumexp(scaled)
    some = jnp.any(active)
    # With no task active all are taken and thrown away: a finite derivative of 0.
    scaled = jnp.where(active | ~some, scaled, -jnp.inf)
    return jnp.where(some, temperature * jax.nn.logsumexp(scaled), 0.0)
