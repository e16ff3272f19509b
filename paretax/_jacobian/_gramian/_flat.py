"""A traced function as one flat list of steps: nested jit calls are written out."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

__all__ = ["Flat", "Step", "flatten", "inner", "run", "shaped", "trace"]


class Step(NamedTuple):
    """One equation, with its operands and results named by numbers."""

    eqn: JaxprEqn
    inputs: tuple[int | Literal, ...]
    outputs: tuple[int, ...]


class Flat(NamedTuple):
    """Steps in an order that can be run; values are named by numbers.

    Attributes:
      steps: the equations.
      inputs: the numbers of the arguments.
      outputs: the numbers of the results, or literals.
      consts: values that the trace closed over, by number.
      avals: shape and dtype of every value, by number.
      uses: where a value is an operand, by number: (position of the step, operand).
    """

    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int | Literal, ...]
    consts: dict[int, Any]
    avals: dict[int, Any]
    uses: dict[int, list[tuple[int, int]]]


def trace(fun: Callable, *args) -> Flat:
    """`fun(*args) -> list of arrays`, traced once for arguments like these."""
    return flatten(jax.make_jaxpr(fun)(*args))


def flatten(closed: ClosedJaxpr) -> Flat:
    """The steps of a closed jaxpr, nested jit calls written out."""
    steps: list[Step] = []
    consts: dict[int, Any] = {}
    avals: dict[int, Any] = {}

    def name(var) -> int:
        number = len(avals)
        avals[number] = var.aval
        return number

    def walk(jaxpr: Jaxpr, values, arguments):
        env: dict[Any, int | Literal] = dict(zip(jaxpr.invars, arguments, strict=True))
        for var, value in zip(jaxpr.constvars, values, strict=True):
            number = name(var)
            env[var], consts[number] = number, value

        def read(atom):
            return atom if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            inputs = tuple(read(atom) for atom in eqn.invars)
            call = _transparent_call(eqn)
            if call is not None:
                results = walk(call.jaxpr, call.consts, inputs)
                env.update(zip(eqn.outvars, results, strict=True))
                continue
            outputs = tuple(name(var) for var in eqn.outvars)
            env.update(zip(eqn.outvars, outputs, strict=True))
            steps.append(Step(eqn, inputs, outputs))
        return tuple(read(atom) for atom in jaxpr.outvars)

    inputs = tuple(name(var) for var in closed.jaxpr.invars)
    outputs = walk(closed.jaxpr, closed.consts, inputs)
    return Flat(tuple(steps), inputs, outputs, consts, avals, _uses(steps))


def _uses(steps: list[Step]) -> dict[int, list[tuple[int, int]]]:
    uses: dict[int, list[tuple[int, int]]] = {}
    for k, step in enumerate(steps):
        for position, atom in enumerate(step.inputs):
            if isinstance(atom, int):
                uses.setdefault(atom, []).append((k, position))
    return uses


def _transparent_call(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The body of a jit call that places nothing on devices by itself."""
    if eqn.primitive.name not in ("jit", "pjit"):
        return None
    placements = (*eqn.params["in_shardings"], *eqn.params["out_shardings"])
    placed = any(isinstance(place, jax.sharding.Sharding) for place in placements)
    options = eqn.params.get("compiler_options_kvs")
    return None if placed or options else eqn.params["jaxpr"]


def inner(step: Step) -> Flat | None:
    """The body of a scan or of a checkpointed call; None for any other step."""
    name = step.eqn.primitive.name
    if name == "scan":
        return flatten(step.eqn.params["jaxpr"])
    if name in ("checkpoint", "remat2", "remat"):
        return flatten(ClosedJaxpr(step.eqn.params["jaxpr"], ()))
    return None


def shaped(atom: Any) -> ShapedArray:
    """Shape and dtype of a variable or a literal."""
    return cast(ShapedArray, atom.aval)


def run(step: Step, env: dict[int, Any]) -> None:
    """Runs one step as it stands, in an environment of values by number."""
    eqn = step.eqn
    values = [x.val if isinstance(x, Literal) else env[x] for x in step.inputs]
    with eqn.ctx.manager:
        answer = eqn.primitive.bind(
            *values, **eqn.primitive.get_bind_params(eqn.params)
        )
    answers = answer if eqn.primitive.multiple_results else [answer]
    env.update(zip(step.outputs, answers, strict=True))
