"""What grouping.py compares: each method finds groups and trains them, by the clock."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from programs_of_grouping import Clock, Programs, programs
from tasks_of_grouping import Problem, error_of, loss_of

from paretax import grouping

EARLY = 4  # pairs and their tasks alone are trained for a quarter of the steps
OPEN = 2 / 3  # of the steps, before what is pruned is fine-tuned
ALONE = -1e6  # the diagonal of an affinity that says nothing of being alone
RESTARTS = 100
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
# Temperature, rate of the logits, trunks alike at first: while the rate is chosen, and
# what is tried then.
FIRST = (4.0, 0.02, True)
REST = (
    (4.0, 0.005, True),
    (4.0, 0.1, True),
    (1.0, 0.02, True),
    (1.0, 0.1, True),
    (4.0, 0.02, False),
    (4.0, 0.1, False),
    (1.0, 0.02, False),
)


class Bench(NamedTuple):
    """A data set with its programs and its choices."""

    problem: Problem
    run: Programs
    clock: Clock
    chosen: dict
    steps: int

    @property
    def tasks(self):
        return len(self.problem.names)


def bench(problem, steps, chosen):
    clock = Clock()
    return Bench(problem, programs(problem, clock), clock, chosen, steps)


def ones(b):
    return np.ones(b.tasks, np.float32)


def scores(b, outputs, part):
    """Losses and errors of the tasks on a split."""
    x, y = b.problem.splits[part]
    out = outputs(x)
    value = lambda measure: np.asarray(measure(b.problem.binary)(out, y)).mean(axis=1)
    return {"loss": value(loss_of).tolist(), "error": value(error_of).tolist()}


# --- training


def alone(b, weights, rate, key, steps=None, program=None):
    program = program or b.run.alone
    weights = jnp.asarray(weights, jnp.float32)
    return program(weights, jnp.float32(rate), key, jnp.int32(steps or b.steps))


def outputs_of(b, params):
    return lambda x: b.run.outputs(params, x)


def grouped(b, group, rate, key):
    """One trunk a group, each trained by itself; the outputs of every task's own."""
    group = np.asarray(group)
    used, group = np.unique(group, return_inverse=True)
    keys = jax.random.split(key, b.tasks)
    trained = [alone(b, group == g, rate, keys[g]) for g in range(len(used))]

    def outputs(x):
        every = jnp.stack([b.run.outputs(params, x) for params in trained])
        return every[group, jnp.arange(b.tasks)]

    return outputs


def opened(b, settings, key, share=1.0):
    """DMTG up to a share of its steps, pruned; and its groups."""
    *numbers, alike = settings
    numbers = tuple(jnp.float32(value) for value in numbers)
    stop = jnp.int32(share * b.steps)
    params = b.run.dmtg[alike](numbers, key, stop, jnp.int32(b.steps))
    return *grouping.prune(params), stop


# --- finding groups


def climb(affinity, num_groups, seed):
    """The best partition for `best_grouping`'s score; above its 10 tasks, the best of
    climbs from random partitions, one task moved at a time."""
    a = np.asarray(affinity, np.float64)
    n = len(a)
    if n <= 10:
        return grouping.best_grouping(a, num_groups).group
    rng = np.random.default_rng(seed)
    runs = [ascent(a, rng.integers(0, num_groups, n)) for _ in range(RESTARTS)]
    return max(runs, key=lambda run: run[1])[0]


def ascent(a, group):
    k, best, moved = group.max() + 1, score(a, group), True
    while moved:
        moved = False
        for i in range(len(a)):
            tried = np.tile(group, (k, 1))
            tried[:, i] = np.arange(k)
            values = [score(a, one) for one in tried]
            if max(values) > best + 1e-12:
                group, best, moved = tried[np.argmax(values)], max(values), True
    return group, best


def score(a, group):
    """The sum over tasks of the mean affinity of the others of their group onto them;
    a task alone has its diagonal."""
    same = group[:, None] == group
    others = same.sum(axis=0) - 1
    helped = ((a * same).sum(axis=0) - np.diagonal(a)) / np.maximum(others, 1)
    return np.where(others > 0, helped, np.diagonal(a)).sum()


def by_affinity(name):
    def search(b, key, seed):
        program = getattr(b.run, name)
        affinity = np.array(alone(b, ones(b), b.chosen["naive"], key, None, program))
        np.fill_diagonal(affinity, ALONE)
        return climb(affinity, b.problem.groups, seed)

    return search


def by_pairs(b, key, seed):
    """A_ij: how much lower the validation loss of j is with i than alone."""
    n, steps = b.tasks, b.steps // EARLY
    loss = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            mask = np.isin(np.arange(n), (i, j))
            loss[i, j], loss[j, i] = validation(b, mask, key, steps)[[j, i]]
    single = np.diagonal(loss)
    return climb(1 - loss / single, b.problem.groups, seed)


def by_all_sets(b, key, seed):
    """The least sum of validation losses, relative to single tasks, of all
    partitions: every set of tasks is trained for all steps."""
    n = b.tasks
    masks = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    loss = np.stack([validation(b, mask, key, b.steps) for mask in masks])
    single = np.array([loss[2**i - 1, i] for i in range(n)])
    values = np.concatenate([[0.0], -(masks * loss / single).sum(axis=1)])
    return grouping.best_grouping(values, b.problem.groups).group


def validation(b, mask, key, steps):
    params = alone(b, mask, b.chosen["groups"], key, steps)
    return np.array(scores(b, outputs_of(b, params), "validation")["loss"])


def by_chance(b, key, seed):
    return np.asarray(grouping.random_grouping(key, b.tasks, b.problem.groups))


def by_dmtg(b, key, seed):
    return np.asarray(opened(b, b.chosen["dmtg"], key)[1])


# --- whole pipelines


def searched(search):
    """Groups first, then a new trunk for each."""

    def pipeline(b, key, seed):
        first, second = jax.random.split(key)
        begun = b.clock()
        group = search(b, first, seed)
        seconds = b.clock() - begun
        return grouped(b, group, b.chosen["groups"], second), group, seconds

    return pipeline


def whole(name):
    """All tasks on one trunk."""

    def pipeline(b, key, seed):
        program = {"naive": b.run.alone, "wide": b.run.wide}[name]
        params = alone(b, ones(b), b.chosen[name], key, None, program)
        return outputs_of(b, params), np.zeros(b.tasks, int), 0.0

    return pipeline


def singles(b, key, seed):
    group = np.arange(b.tasks)
    return grouped(b, group, b.chosen["groups"], key), group, 0.0


def one_shot(tuned):
    """DMTG: trunks, heads and groups in one run; as long with fine-tuning."""

    def pipeline(b, key, seed):
        first, second = jax.random.split(key)
        settings = b.chosen["dmtg"]
        pruned, group, stop = opened(b, settings, first, OPEN if tuned else 1.0)
        if tuned:
            rate = jnp.float32(settings[0])
            pruned = b.run.tuned(pruned, group, rate, second, stop, jnp.int32(b.steps))
        return lambda x: b.run.pruned_outputs(pruned, group, x), group, 0.0

    return pipeline


METHODS = {
    "naive": whole("naive"),
    "naive, wide": whole("wide"),
    "random groups": searched(by_chance),
    "DMTG": one_shot(tuned=False),
    "DMTG, fine-tuned": one_shot(tuned=True),
    "DMTG's groups anew": searched(by_dmtg),
    "TAG": searched(by_affinity("lookahead")),
    "cosine": searched(by_affinity("cosine")),
    "HOA": searched(by_pairs),
    "all sets": searched(by_all_sets),
    "single tasks": singles,
}


def measure(b, name, seed):
    """Groups, scores on test and seconds of one run."""
    begun, before = b.clock(), b.clock.compiling
    outputs, group, search = METHODS[name](b, jax.random.key(seed), seed)
    total = b.clock() - begun
    return {
        "group": np.asarray(group).tolist(),
        "search_s": search,
        "total_s": total,
        "compile_s": b.clock.compiling - before,
        "test": scores(b, outputs, "test"),
    }


def choose(b, seed):
    """Rates, and DMTG's temperature, by the mean over tasks of the validation loss
    relative to naive training at the middle rate; fills `b.chosen`."""
    key = jax.random.key(seed)
    deal = by_chance(b, key, seed)

    def naive(rate, program):
        return outputs_of(b, alone(b, ones(b), rate, key, None, program))

    def dmtg(*settings):
        pruned, group, _ = opened(b, settings, key)
        return lambda x: b.run.pruned_outputs(pruned, group, x)

    unit = np.array(
        scores(b, naive(RATES[1], b.run.alone), "validation")["loss"], np.float64
    )

    def best(candidates, outputs):
        values = {
            one: np.mean(scores(b, outputs(one), "validation")["loss"] / unit)
            for one in candidates
        }
        return min(values, key=lambda one: np.nan_to_num(values[one], nan=np.inf))

    b.chosen["naive"] = best(RATES, lambda rate: naive(rate, b.run.alone))
    b.chosen["wide"] = best(RATES, lambda rate: naive(rate, b.run.wide))
    b.chosen["groups"] = best(RATES, lambda rate: grouped(b, deal, rate, key))
    rate = best(RATES, lambda rate: dmtg(rate, *FIRST))
    settings = [(rate, *rest) for rest in (FIRST, *REST)]
    b.chosen["dmtg"] = best(settings, lambda settings: dmtg(*settings))
