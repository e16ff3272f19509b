"""Which steps serve which tasks: the trunk once, each head for its own task alone.

A head's backward pass then runs once, not once a task, and what is not a number in one
task's head cannot reach the gradient of another: zero times NaN is never formed.
"""

import functools
import operator
from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
from jax.extend.core import Literal

from paretax._jacobian._gramian._flat import Flat, Step

__all__ = ["Stages", "stages"]

# Applied to a vector of m losses entry by entry: entry i still belongs to task i.
_ENTRYWISE = {
    "abs", "add", "and", "clamp", "convert_element_type", "copy", "div", "eq", "exp",
    "expm1", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic",
    "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pow", "rsqrt", "select_n",
    "sign", "sqrt", "square", "stop_gradient", "sub", "tanh",
}  # fmt: skip


class Stages(NamedTuple):
    """The steps of a program in four stages, and what passes between them.

    Attributes:
      trunk: steps that serve more than one task.
      heads: for each task, the steps that serve it alone.
      join: steps that only put the tasks' scalars side by side.
      rest: steps that serve no loss (auxiliary output, effects).
      frontier: values of the trunk, differentiable in the parameters, that heads, the
        join or the losses read.
      reads: for each task, the frontier values and parameter leaves that its head
        reads.
      scalars: for each task, the values of its head that the join reads.
      joined: frontier values that the join reads.
    """

    trunk: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    join: tuple[int, ...]
    rest: tuple[int, ...]
    frontier: tuple[int, ...]
    reads: tuple[tuple[int, ...], ...]
    scalars: tuple[tuple[int, ...], ...]
    joined: tuple[int, ...]


def stages(flat: Flat, leaves: tuple[int, ...], num_tasks: int) -> Stages:
    """Sorts the steps by the tasks that they serve."""
    tasks, joins = _served(flat, num_tasks)
    trunk, rest, join = [], [], []
    heads: list[list[int]] = [[] for _ in range(num_tasks)]
    for k in range(len(flat.steps)):
        if k in joins:
            join.append(k)
        elif tasks[k] == 0:
            rest.append(k)
        elif num_tasks > 1 and tasks[k] & (tasks[k] - 1) == 0:
            heads[tasks[k].bit_length() - 1].append(k)
        else:
            trunk.append(k)

    depends = _dependents(flat, leaves)
    made = set(leaves) | {i for k in trunk for i in flat.steps[k].outputs}
    live = {i for i in made & depends if _is_float(flat.avals[i])}
    reads = tuple(_inputs(flat, head) & live for head in heads)
    joined = _inputs(flat, join) & live
    if isinstance(flat.outputs[0], int) and not join:
        joined = {flat.outputs[0]} & live
    wanted = _inputs(flat, join)
    scalars = tuple(
        tuple(sorted(wanted & {i for k in head for i in flat.steps[k].outputs}))
        for head in heads
    )
    frontier = set().union(*reads, joined) - set(leaves)
    return Stages(
        tuple(trunk),
        tuple(map(tuple, heads)),
        tuple(join),
        tuple(rest),
        tuple(sorted(frontier)),
        tuple(tuple(sorted(read)) for read in reads),
        scalars,
        tuple(sorted(joined)),
    )


def _served(flat: Flat, num_tasks: int) -> tuple[list[int], set[int]]:
    """For each step the set of tasks that it serves, as bits; and the joining steps."""
    need: dict[int, list[int]] = {}
    if isinstance(flat.outputs[0], int):
        need[flat.outputs[0]] = [1 << task for task in range(num_tasks)]
    tasks, joins, mixed = [0] * len(flat.steps), set(), set()
    for k in reversed(range(len(flat.steps))):
        step = flat.steps[k]
        entries = need.get(step.outputs[0]) if len(step.outputs) == 1 else None
        parts = None
        if entries and step.outputs[0] not in mixed:
            parts = _parts(flat, step, entries)
        union = _union(bits for out in step.outputs for bits in need.get(out, ()))
        tasks[k] = union
        if parts is not None:
            joins.add(k)
        for position, atom in enumerate(step.inputs):
            if isinstance(atom, Literal) or not union:
                continue
            if parts is None:
                mixed.add(atom)
            given = [union] if parts is None else parts[position]
            _merge(need, atom, given, _entries(flat.avals[atom]))
    return tasks, joins


def _parts(flat: Flat, step: Step, entries: list[int]) -> list[list[int]] | None:
    """How a step that puts entries side by side hands each to its operands."""
    name, params = step.eqn.primitive.name, step.eqn.params
    shapes = [
        jnp.shape(x.val) if isinstance(x, Literal) else flat.avals[x].shape
        for x in step.inputs
    ]
    out = flat.avals[step.outputs[0]].shape
    if len(out) != 1 or len(set(entries)) < 2:
        return None
    if name == "stack" and params["axis"] == 0:
        return [[bits] for bits in entries]
    if name == "concatenate" and all(len(shape) == 1 for shape in shapes):
        parts, start = [], 0
        for shape in shapes:
            parts.append(entries[start : start + shape[0]])
            start += shape[0]
        return parts
    if name in _ENTRYWISE and all(shape in (out, ()) for shape in shapes):
        return [entries if shape == out else [_union(entries)] for shape in shapes]
    return None


def _union(entries: Iterable[int]) -> int:
    return functools.reduce(operator.or_, entries, 0)


def _entries(aval) -> int:
    return aval.shape[0] if len(aval.shape) == 1 else 1


def _merge(need, atom, given, length) -> None:
    if len(given) != length:
        given = [_union(given)] * length
    old = need.get(atom, [0] * length)
    need[atom] = [a | b for a, b in zip(old, given, strict=True)]


def _dependents(flat: Flat, leaves) -> set[int]:
    depends = set(leaves)
    for step in flat.steps:
        if depends.intersection(i for i in step.inputs if isinstance(i, int)):
            depends.update(step.outputs)
    return depends


def _inputs(flat: Flat, steps) -> set[int]:
    return {i for k in steps for i in flat.steps[k].inputs if isinstance(i, int)}


def _is_float(aval) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.floating)
