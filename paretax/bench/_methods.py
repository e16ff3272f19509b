"""A method of the README's table, by its name there and its options, as one step."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

import paretax as px
from paretax import coordinatewise, scalarizations, weightings

__all__ = ["Method", "make", "make_method"]

_DOUBLE = ("modo", "sdmgrad")  # read the products of two more batches
_GIVEN = ("key", "num_tasks", "shared", "weight_heads", "optimizer")


class Method(NamedTuple):
    """How a method turns the losses of a batch into a direction.

    Attributes:
      init: `init(params, key) -> state`.
      direction: `direction(params, state, batch) -> (losses [m], direction, state)`.
        `batch(0)` is this step's batch, `batch(1)` the one before, `batch(2)` and
        `batch(3)` two more; only what is called is read.
    """

    init: Callable[[PyTree, Array], Any]
    direction: Callable[..., Any]


def make_method(
    losses: Callable, name: str, options: Mapping[str, Any], num_tasks: int
) -> Method:
    """The method on these losses.

    The leaves of the parameters under a key `heads` are the tasks' own; all others are
    shared and enter the Gramian. What weighs losses without it (one backward pass)
    weighs the heads' gradients too, as the sum of weighted losses does; the others
    leave each head its own task's gradient.

    Args:
      losses: `losses(params, batch) -> f` of shape [m].
      name: as in the README's table.
      options: keyword arguments of its factory. A wrapper takes `weighting`, a name or
        `{name = ..., options}`; `running_points` takes `make`, a scalarization's name.
      num_tasks: m.

    Returns:
      A `Method`.

    Raises:
      ValueError: an unknown name or option, the nearest known one is named; an option
        out of its range.
    """
    made = make(name, options, num_tasks, jax.random.key(0))
    if not isinstance(made, px.Weighting):
        return _on_gradients(losses, name, options, num_tasks)
    parts = _parts(name, options)
    double = any(part in _DOUBLE for part in parts)
    alone = made.needs_gram(made.init(num_tasks)) is False and not double

    def init(params, key):
        del params
        return make(name, options, num_tasks, key).init(num_tasks)

    def direction(params, state, batch):
        step = px.value_and_direction(
            losses, made, shared=_shared(params), weight_heads=alone
        )
        extra = {}
        if double:
            extra["cross_gram"] = _cross(losses, params, batch)
        if "famo" in parts:
            extra["losses_after"] = losses(params, batch(1))
        return step(params, state, batch(0), extra_args=extra)

    return Method(init, direction)


def _parts(name, options):
    """The factories that a method is made of, from the outermost inwards."""
    inner = options.get("weighting")
    if inner is None:
        return [name.split()[0]]
    table = {"name": inner} if isinstance(inner, str) else inner
    return [name.split()[0], *_parts(table["name"], table)]


def _on_gradients(losses, name, options, num_tasks):
    """A transformation of the stacked gradients themselves."""

    def tx(params, key):
        return make(name, options, num_tasks, key, shared=_shared(params))

    def direction(params, state, batch):
        values, jac = px.value_and_jacobian(losses)(params, batch(0))
        out, state = tx(params, jax.random.key(0)).update(
            jac, state, params, losses=values
        )
        return values, out, state

    return Method(lambda params, key: tx(params, key).init(params), direction)


def _cross(losses, params, batch):
    """The products of the shared gradients of two more batches, [m, m]."""
    shared = _shared(params) or (lambda path: True)

    def rows(which):
        jac = px.value_and_jacobian(losses)(params, batch(which))[1]
        leaves = jax.tree_util.tree_flatten_with_path(jac)[0]
        return [leaf for path, leaf in leaves if shared(path)]

    return px.cross_gramian(rows(2), rows(3))


def _shared(params):
    """Which leaves the tasks share, or None for all."""

    def own(path):
        return any(getattr(key, "key", None) == "heads" for key in path)

    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    heads = [own(path) for path in paths]
    return None if not any(heads) or all(heads) else lambda path: not own(path)


def make(
    name: str,
    options: Mapping[str, Any],
    num_tasks: int,
    key: Array,
    shared: Any = None,
) -> Any:
    """A `px.Weighting`, or a transformation of `paretax.coordinatewise`.

    Args:
      name: as for `make_method`.
      options: likewise.
      num_tasks: m.
      key: for methods that draw.
      shared: for transformations.

    Raises:
      ValueError: as `make_method`.
    """
    factory = _factory(name)
    known = inspect.signature(factory).parameters
    takes = [option for option in known if option not in _GIVEN]
    for option in options:
        if option not in takes:
            near = difflib.get_close_matches(option, takes, 1, 0.0)
            told = f"Did you mean {near[0]!r}?" if near else "It has none."
            raise ValueError(f"methods.{name}: unknown option {option!r}. {told}")
    for option in takes:
        needed = known[option].default is inspect.Parameter.empty
        if needed and option not in options:
            raise ValueError(f"methods.{name}: expected the option {option!r}.")
    given = dict(options)
    if "weighting" in given:
        given["weighting"] = _wrapped(name, given["weighting"], num_tasks, key)
    if name.split()[0] == "running_points":
        given["make"] = _scalarization(name, given["make"])
    for option, value in (
        ("key", key), ("num_tasks", num_tasks), ("shared", shared),
    ):  # fmt: skip
        if option in known:
            given[option] = value
    first = [given.pop(o) for o in ("weighting", "make", "weights") if o in given]
    try:
        made = factory(*first, **given)
        if isinstance(made, px.Weighting):
            made.init(num_tasks)
        return made
    except (ValueError, TypeError) as error:
        raise ValueError(f"methods.{name}: {error}") from error


def _wrapped(name, inner, num_tasks, key):
    table = {"name": inner} if isinstance(inner, str) else dict(inner)
    if not isinstance(table.get("name"), str):
        raise ValueError(
            f"methods.{name}: expected weighting = 'nash_mtl', or {{name = 'nash_mtl', "
            f"...}} with its options, got {inner!r}."
        )
    made = make(table.pop("name"), table, num_tasks, key)
    if not isinstance(made, px.Weighting):
        raise ValueError(f"methods.{name}: expected a weighting, got {inner!r}.")
    return made


def _scalarization(name, made):
    if made == "log_hypervolume":
        return lambda _, nadir: scalarizations.log_hypervolume(
            jnp.full(len(nadir), 1 / len(nadir)), nadir=nadir
        )
    if made in ("tchebycheff", "smooth_tchebycheff"):
        factory = getattr(scalarizations, made)
        return lambda ideal, _: factory(
            jnp.full(len(ideal), 1 / len(ideal)), ideal=ideal
        )
    raise ValueError(
        f"methods.{name}: expected make = 'log_hypervolume', 'tchebycheff' or "
        f"'smooth_tchebycheff', got {made!r}."
    )


@functools.cache
def _known() -> dict[str, Any]:
    found = {name: getattr(weightings, name) for name in weightings.__all__}
    others = [name for name in coordinatewise.__all__ if not name.endswith("State")]
    return found | {name: getattr(coordinatewise, name) for name in others}


def _factory(name):
    if name.endswith((" + ema", " per layer")):
        raise ValueError(
            f"methods.{name}: a chain of several parts, which this file cannot say; "
            "write it in Python, see docs/recipes.md."
        )
    first = name.split()[0] if name.split() else name
    if first not in _known():
        near = difflib.get_close_matches(first, _known(), 1, 0.0)[0]
        raise ValueError(f"methods: unknown method {name!r}. Did you mean {near!r}?")
    return _known()[first]
