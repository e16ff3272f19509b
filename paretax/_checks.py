"""Checks of arguments: at once and in plain words; tracers are let through."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import numpy as np
from jax import dtypes
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array

__all__ = [
    "check_active",
    "check_choice",
    "check_choices",
    "check_count",
    "check_finite",
    "check_fraction",
    "check_key",
    "check_losses",
    "check_non_negative",
    "check_points",
    "check_positive",
    "check_positive_preference",
    "check_preference",
    "check_square",
    "is_concrete",
]


def is_concrete(value) -> bool:
    """Whether `value` can be read now, that is, is no tracer."""
    return not isinstance(value, Tracer)


def check_preference(preference: ArrayLike, name: str = "preference") -> Array:
    """A non-negative vector that sums to 1, as an array of the default float type."""
    p = jnp.asarray(preference, dtype=float)
    if p.ndim != 1 or p.size == 0:
        raise ValueError(
            f"{name}: expected a vector of shape [m], one entry a task, got shape "
            f"{p.shape}; for many preferences at once, jax.vmap over them."
        )
    if not is_concrete(p):
        return p
    values = np.asarray(p, dtype=np.float64)
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError(
            f"{name}: expected non-negative entries, got {values.tolist()}; "
            "a preference is a point of the simplex."
        )
    if abs(values.sum() - 1.0) > 1e-4:
        raise ValueError(
            f"{name}: expected entries that sum to 1, got {values.tolist()} with sum "
            f"{values.sum():.6g}; divide by the sum."
        )
    return p


def check_positive_preference(preference: ArrayLike, instead: str) -> Array:
    """A preference with positive entries only; `instead` is what else to do with 0."""
    p = check_preference(preference)
    if is_concrete(p) and not bool(jnp.all(p > 0)):
        raise ValueError(
            f"preference: expected positive entries, got {p.tolist()}; for a task "
            f"that does not count, {instead}."
        )
    return p


def check_finite(name: str, value: float | Array) -> float | Array:
    """A finite number of either sign, unless it is a tracer."""
    if is_concrete(value) and not np.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value}.")
    return value


def check_points(name: str, points: ArrayLike, least: int = 1) -> Array:
    """At least `least` points, one a row, as an array of the default float type."""
    values = jnp.asarray(points, dtype=float)
    if values.ndim != 2 or values.shape[0] < least or values.shape[1] == 0:
        raise ValueError(
            f"{name}: expected shape [n, m] with n at least {least}, one row a point, "
            f"got {values.shape}."
        )
    return values


def check_positive(name: str, value: float | Array) -> float | Array:
    """A positive finite number, unless it is a tracer."""
    if is_concrete(value) and not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number above 0, got {value}.")
    return value


def check_non_negative(name: str, value: float | Array) -> float | Array:
    """A number of at least 0, unless it is a tracer."""
    if is_concrete(value) and not value >= 0:
        raise ValueError(f"{name}: expected a number of at least 0, got {value}.")
    return value


def check_fraction(name: str, value: float | Array) -> float | Array:
    """A number in [0, 1], unless it is a tracer."""
    if is_concrete(value) and not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number in [0, 1], got {value}.")
    return value


def check_key(key) -> Array:
    """One typed random key, not the two integers of an old one."""
    typed = jnp.issubdtype(getattr(key, "dtype", bool), dtypes.prng_key)
    if not typed or key.shape != ():
        raise ValueError(
            "key: expected one typed random key, as jax.random.key(0), got "
            f"{key!r}; an old key becomes one by jax.random.wrap_key_data."
        )
    return key


def check_active(active, shape: tuple[int, ...]) -> Array | None:
    """A mask of tasks, or None: a bool array of the given shape."""
    if active is None:
        return None
    active = jnp.asarray(active)
    if active.shape != shape or active.dtype != bool:
        raise ValueError(
            f"active: expected a bool array of shape {shape}, got {active.dtype} of "
            f"shape {active.shape}."
        )
    return active


def check_choice(name: str, value: object, choices: Any) -> None:
    """One of the words of a `Literal`."""
    if value not in get_args(choices):
        words = ", ".join(get_args(choices))
        raise ValueError(f"{name}: expected one of {words}, got {value!r}.")


def check_choices(config: Any) -> None:
    """Each field of a dataclass whose type is a `Literal` holds one of its words."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal:
            check_choice(name, getattr(config, name), hint)


def check_count(name: str, value: object, least: int = 1) -> int:
    """A Python integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(
            f"{name}: expected an integer, got {type(value).__name__} ({value!r})."
        )
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}.")
    return int(value)


def check_losses(losses) -> None:
    """Losses are one array of shape [m]."""
    shape = getattr(losses, "shape", None)
    if shape is None:
        raise ValueError(
            "losses: expected one array of shape [m], one entry a task, got "
            f"{type(losses).__name__}; stack them, as in jnp.stack([loss_a, loss_b])."
        )
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(
            f"losses: expected shape [m], one entry a task, got shape {tuple(shape)}; "
            "return jnp.stack([loss_a, loss_b]), not their sum."
        )


def check_square(gram, num_tasks: int | None = None) -> None:
    """A Gramian is m×m, for the m that was promised."""
    shape = jnp.shape(gram)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"gram: expected shape [m, m], got {shape}.")
    if num_tasks is not None and shape[0] != num_tasks:
        raise ValueError(
            f"gram: expected shape [{num_tasks}, {num_tasks}], got {shape}; "
            "num_tasks must be the number of losses."
        )
