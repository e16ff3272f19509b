"""Does a method learn XOR and AND together, when XOR is a hundred times louder?

The problem of the task tensioner's authors (`problems.logic_operators`), with their
settings for every method: SGD 0.05 with momentum 0.9 for all modules, two mini-batches
of two rows an epoch, reshuffled, at most 2,500 epochs. The encoder gets the combined
gradient, each head the plain gradient of its own loss. A task is learned at the first
epoch in which the sum of its two mini-batch losses is below 8e-3, as that code counts.

Same starts and same mini-batches for every method; all seeds are one vmapped program.
The rate is the authors' and no method's own: it suits some lengths of direction better
than others, so a second table gives three methods other rates. The authors' code steps
each head at once, before the encoder, but takes all gradients before: simultaneous
steps are the same update (a test holds it). The last column, 100 other starts in a
NumPy port of that code, is a check: both learned / median epochs.

    python benchmarks/logic_operators.py [--quick] [--methods ...] [--out file]
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
import optax
from tables import show, versions

import paretax as px
from paretax import coordinatewise, problems

PROBLEM = problems.logic_operators()
NAMES = ("xor", "and")
BATCH = 2
LEARNING_RATE, MOMENTUM = 0.05, 0.9
RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
SWEPT = ("total", "edm", "task_tensioner 0.3")
METHODS = {
    "total": lambda key: px.total(),
    "uniform": lambda key: px.uniform(),
    "edm": lambda key: px.edm(),
    "task_tensioner 0.1": lambda key: px.task_tensioner(alpha=0.1),
    "task_tensioner 0.3": lambda key: px.task_tensioner(alpha=0.3),
    "task_tensioner 0.6": lambda key: px.task_tensioner(alpha=0.6),
    "task_tensioner 1.0": lambda key: px.task_tensioner(alpha=1.0),
    "mgda": lambda key: px.mgda(),
    "nash_mtl": lambda key: px.nash_mtl(),
    "nash_mtl, √m": lambda key: px.nash_mtl(max_norm=None),
    "pcgrad": lambda key: px.pcgrad(key=key),
    "cagrad": lambda key: px.cagrad(c=0.4),
    "imtl_g": lambda key: px.imtl_g(),
    "upgrad": lambda key: px.upgrad(),
    "fairgrad, α = 2": lambda key: px.fairgrad(alpha=2.0),
    "famo": lambda key: px.famo(),
    "rlw": lambda key: px.rlw(key=key),
    "uncertainty": lambda key: px.uncertainty(),
    "scale_invariant": lambda key: px.scale_invariant(),
    "graddrop": lambda key: coordinatewise.graddrop(2, key=key, shared=shared),
}
PORT = {
    "total": "14% / 125",
    "edm": "74% / 352",
    "task_tensioner 0.1": "73% / 227",
    "task_tensioner 0.3": "54% / 174",
    "task_tensioner 0.6": "49% / 156",
    "task_tensioner 1.0": "44% / 136",
}


def shared(path):
    return path[0].key == "encoder"


def trainer(make, epochs):
    """`run(key, rate) -> losses` of every mini-batch, [epochs, batches, tasks]."""

    def run(key, rate):
        start, order, method = jax.random.split(key, 3)
        made = make(method)
        if isinstance(made, px.Weighting):
            made = px.combine(made, len(NAMES), shared=shared)
        tx = optax.chain(made, optax.sgd(rate, momentum=MOMENTUM))

        def step(carry, rows):
            params, state, before = carry
            batch = jax.tree.map(lambda leaf: leaf[rows], PROBLEM.data)
            f, jac = px.value_and_jacobian(PROBLEM.losses)(params, batch)
            after = PROBLEM.losses(params, before)  # compiled away but for FAMO
            updates, state = tx.update(jac, state, params, losses=f, losses_after=after)
            return (optax.apply_updates(params, updates), state, batch), f

        def epoch(carry, key):
            rows = jax.random.permutation(key, 4).reshape(-1, BATCH)
            return jax.lax.scan(step, carry, rows, unroll=True)

        params = PROBLEM.init(start)
        keys = jax.random.split(order, epochs)
        first = jax.tree.map(lambda leaf: leaf[:BATCH], PROBLEM.data)
        return jax.lax.scan(epoch, (params, tx.init(params), first), keys)[1]

    return run


def measure(name, seeds, epochs, rates):
    """A row for each rate, from one compiled program."""
    keys = jax.random.split(jax.random.key(0), seeds)
    started = time.perf_counter()
    run = jax.vmap(trainer(METHODS[name], epochs), in_axes=(0, None))
    program = jax.jit(run).lower(keys, np.float32(0)).compile()
    compiled = time.perf_counter() - started
    rows = []
    for rate in rates:
        started = time.perf_counter()
        losses = jax.block_until_ready(program(keys, np.float32(rate)))
        seconds = time.perf_counter() - started
        row = {"method": name, "rate": rate, **counts(losses)}
        rows.append({**row, "compile s": compiled, "run s": seconds})
    return rows


def counts(losses):
    """How many seeds learned what, and when both."""
    first = jax.vmap(lambda row: problems.first_converged(row, BATCH))(losses)
    learned = np.asarray(first) >= 0
    both = learned.all(axis=1)
    share = both.mean()
    last = np.asarray(first)[both].max(axis=1)
    return {
        "both": float(share),
        "± s.e.": float(np.sqrt(share * (1 - share) / len(both))),
        **{task: float(learned[:, t].mean()) for t, task in enumerate(NAMES)},
        "median epochs": float(np.median(last)) if both.any() else None,
        "not finite": int((~np.isfinite(losses).all(axis=(1, 2, 3))).sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 seeds, 600 epochs")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("logic_operators.json"))
    args = parser.parse_args()
    seeds, epochs = (20, 600) if args.quick else (1000, 2500)
    made_by = versions()
    rows, swept = [], []
    for name in args.methods:
        rates = RATES if name in SWEPT and not args.quick else (LEARNING_RATE,)
        of_rates = measure(name, seeds, epochs, rates)
        at_theirs = of_rates[rates.index(LEARNING_RATE)]
        rows.append({**at_theirs, "port": PORT.get(name)})
        swept += of_rates if len(rates) > 1 else []
        print(name, rows[-1]["both"], flush=True)
    told = ", ".join(f"{key} {value}" for key, value in made_by.items())
    show(f"XOR and AND, {seeds} seeds, {epochs} epochs; {told}", rows)
    if swept:
        show("Other rates", swept)
    results = {"versions": made_by, "seeds": seeds, "epochs": epochs}
    results.update({"rows": rows, "other rates": swept})
    args.out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
