"""Pairs of conflicting tasks on MultiMNIST: classify, reconstruct, left and right.

The benchmark of Gama & Grassi (arXiv:2505.10347, their public code), at a budget that
two cores can pay. Theirs and kept: 28×28 pictures (a 36×36 canvas, nearest neighbor),
pictures and targets normalized by (0.1307, 0.3081); tasks CL and CR (classify the left
and the right digit, cross-entropy) and RL and RR (reconstruct it, mean squared error);
encoder conv 5×5 to 10, maximum 2×2, ReLU, conv 5×5 to 20, maximum 2×2, ReLU, linear
320-50, ReLU; classifier 50-50-10 and reconstructor 50-256-784; Adam, its rate times
0.95 an epoch; the tensioner's alpha of each pair; the score

    Δm = mean over tasks of ±(metric − single)/single,   positive is better,

with the accuracy or the error of the same network trained on one task alone. Reduced:
10,000 training pictures of 50,000, 5,000 of 10,000 for validation and for test; 5
epochs of 100, so batches of 128 instead of 256; 3 seeds of 5; 3 rates of their 7, which
run from 0.0005 up, chosen for every method and pair by Δm on validation with the first
seed, whose test figures then count as one of the 3; no dropout (they choose none for
two of the pairs, 0.2 or 0.3 for CL_CR); the last epoch's model, not validation's best.
Departures: the right digit lies at (8, 8), theirs at (6, 6); kernels start as in
`paretax.models`; every other method keeps its own defaults. Left out because for
two tasks they are rows that are there: imtl_g is edm, fairgrad with α = 1 nash_mtl.

The encoder gets the combined gradient, each head that of its own loss. Same starts and
mini-batches for every method. Runs go one after the other, as
docs/decisions/members-in-sequence.md measured for LeNet by patches.

    python benchmarks/multi_mnist_pairs.py [--quick] [--methods ...] [--out file]
                                                                    (extra: data)
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from networks_of_multi_mnist_pairs import functions, load
from tables import show, versions

import paretax as px

PAIRS = {"CL_CR": ("CL", "CR"), "CL_RR": ("CL", "RR"), "RL_RR": ("RL", "RR")}
ALPHA = {"CL_CR": 0.6, "CL_RR": 0.2, "RL_RR": 1.0}
BATCH, DECAY = 128, 0.95
RATES = (0.001, 0.0025, 0.005)
METHODS = {
    "total": lambda pair, key: px.total(),
    "edm": lambda pair, key: px.edm(),
    "task_tensioner": lambda pair, key: px.task_tensioner(alpha=ALPHA[pair]),
    "mgda": lambda pair, key: px.mgda(),
    "nash_mtl": lambda pair, key: px.nash_mtl(),
    "pcgrad": lambda pair, key: px.pcgrad(key=key),
    "cagrad": lambda pair, key: px.cagrad(c=0.4),
    "upgrad": lambda pair, key: px.upgrad(),
    "fairgrad, α = 2": lambda pair, key: px.fairgrad(alpha=2.0),
    "famo": lambda pair, key: px.famo(),
    "uncertainty": lambda pair, key: px.uncertainty(),
    "scale_invariant": lambda pair, key: px.scale_invariant(),
}
QUICK = ("total", "edm", "task_tensioner")


def shared(path):
    return path[0].key == "encoder"


def trainer(tasks, make, epochs):
    """`run(rate, key, data) -> metrics` [2, m] on validation and on test."""
    init, losses, metrics = functions(tasks)

    def run(rate, key, arrays):
        start, order, method = jax.random.split(key, 3)
        train = arrays["train"]
        size = len(train["image"])
        steps = size // BATCH
        tx = optax.chain(
            px.combine(make(method), len(tasks), shared=shared),
            optax.scale_by_adam(),
            optax.scale_by_schedule(lambda t: -rate * DECAY ** (t // steps)),
        )

        def step(carry, rows):
            params, state, before = carry
            batch = {name: train[name][rows] for name in ("image", *tasks)}
            f, jac = px.value_and_jacobian(losses)(params, batch)
            after = losses(params, before)  # compiled away but for FAMO
            updates, state = tx.update(jac, state, params, losses=f, losses_after=after)
            return (optax.apply_updates(params, updates), state, batch), None

        def shuffled(key):
            return jax.random.permutation(key, size)[: steps * BATCH].reshape(-1, BATCH)

        rows = jax.vmap(shuffled)(jax.random.split(order, epochs)).reshape(-1, BATCH)
        params = init(start)
        first = {name: train[name][rows[0]] for name in ("image", *tasks)}
        carry = (params, tx.init(params), first)
        (params, *_), _ = jax.lax.scan(step, carry, rows)
        held_out = {name: arrays["held_out"][name] for name in ("image", *tasks)}
        return jax.lax.map(lambda split: score(metrics, params, split), held_out)

    return run


def score(metrics, params, split, chunk=1000):
    """The mean over a split, in chunks that divide it."""
    chunks = jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), split)
    return jax.lax.map(lambda batch: metrics(params, batch), chunks).mean(axis=0)


def measure(tasks, make, budget, arrays, single):
    """The rate of the best Δm on validation, and the metrics of all seeds with it."""
    epochs, rates, seeds = budget
    shapes = jax.eval_shape(lambda: (jnp.float32(0), jax.random.key(0), arrays))
    started = time.perf_counter()
    program = jax.jit(trainer(tasks, make, epochs)).lower(*shapes).compile()
    compiled, started = time.perf_counter() - started, time.perf_counter()

    def run(rate, seed):
        out = program(jnp.float32(rate), jax.random.key(seed), arrays)
        return np.asarray(out, np.float64)

    tried = {rate: run(rate, 0) for rate in rates}
    values = {rate: gain(tasks, out[0], single) for rate, out in tried.items()}
    best = max(values, key=lambda rate: np.nan_to_num(values[rate], nan=-np.inf))
    runs = np.stack([tried[best], *(run(best, seed) for seed in range(1, seeds))])
    return {
        "rate": best,
        "validation": runs[:, 0].tolist(),
        "test": runs[:, 1].tolist(),
        "tried": {str(rate): out[0].tolist() for rate, out in tried.items()},
        "compile_s": compiled,
        "run_s": time.perf_counter() - started,
    }


def gain(tasks, metrics, single):
    """Δm in percent; without a reference, the metric itself with its sign."""
    sign = np.array([1 if task[0] == "C" else -1 for task in tasks])
    if single is None:
        return float((sign * metrics).mean())
    reference = np.array([single[task] for task in tasks])
    return float(100 * (sign * (metrics - reference) / reference).mean())


def mean_and_error(values):
    values = np.asarray(values, np.float64)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def row(name, tasks, result, single):
    gains = [gain(tasks, np.array(m), single) for m in result["test"]]
    out = {"method": name, "rate": f"{result['rate']:g}"}
    means, errors = mean_and_error(result["test"])
    for task, mean, error in zip(tasks, means, errors, strict=True):
        out[f"{task} {'accuracy' if task[0] == 'C' else 'MSE'}"] = (
            f"{mean:.4f} ± {error:.4f}"
        )
    if len(tasks) > 1:
        mean, error = mean_and_error(gains)
        out["Δm, %"] = f"{mean:.2f} ± {error:.2f}"
    out["compile s"] = f"{result['compile_s']:.1f}"
    out["run s"] = f"{result['run_s']:.1f}"
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="2,000 pictures, 2 epochs, 3 methods"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--out", type=Path, default=Path("multi_mnist_pairs.json"))
    args = parser.parse_args()
    names = args.methods or (QUICK if args.quick else METHODS)
    budget = (2, RATES[1:2], 2) if args.quick else (5, RATES, 3)
    train, rest = (2_000, 2_000) if args.quick else (10_000, 5_000)
    arrays = load(train, rest)
    made_by = versions()
    told = ", ".join(f"{key} {value}" for key, value in made_by.items())
    print(f"{train} pictures, {budget[0]} epochs, {budget[2]} seeds; {told}")
    setting = {"train": train, "epochs": budget[0], "rates": budget[1]}
    results = {"versions": made_by, "setting": setting, "single": {}}
    validation, test = {}, {}
    for task in ("CL", "CR", "RL", "RR"):
        alone = measure((task,), lambda key: px.total(), budget, arrays, None)
        results["single"][task] = alone
        validation[task] = float(np.mean(alone["validation"]))
        test[task] = float(np.mean(alone["test"]))
        told = row("alone", (task,), alone, None)
        print(", ".join(f"{key} {value}" for key, value in told.items()), flush=True)
    for pair, tasks in PAIRS.items():
        results[pair], rows = {}, []
        for name in names:
            make = functools.partial(METHODS[name], pair)
            result = measure(tasks, make, budget, arrays, validation)
            results[pair][name] = result
            rows.append(row(name, tasks, result, test))
            print(pair, rows[-1]["method"], rows[-1]["Δm, %"], flush=True)
            args.out.write_text(json.dumps(results, indent=2))
        show(pair, rows, width=120)


if __name__ == "__main__":
    main()
