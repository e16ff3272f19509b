"""Training in `paretax bench` beside the bare compiled step: how much is lost?

The bench trains in a scan over steps that gathers its batches from arrays on the
device; the bare step is what a user would write, called in a loop on batches that lie
ready. Rounds are interleaved; the share is of the fastest rounds. A second table: cells
that one program trains at once, by vmap, beside one by one. A third: the bare step that
first takes a batch of as many records from the disk (`data.stream`, grain) to the
device, for sets that memory does not hold.

    python benchmarks/throughput.py [--quick] [--data multi_mnist/mnist]
        (extras: data, data-stream)
"""

import argparse
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tables import show

import paretax as px
from paretax import bench, data, experiments
from paretax.bench._program import bind, trainer

METHODS = ("total", "nash_mtl")


def settings_for(name, steps, at_once=1):
    part = bench.DatasetSettings(name, steps=steps, batch_size=64, examples=8000)
    return bench.Settings(
        datasets=(part,),
        methods={method: {} for method in METHODS},
        evaluations=1,
        cells_at_once=at_once,
    )


def bench_round(task, settings, method):
    """A function that trains all steps, and how many cells' steps those are."""
    count = settings.cells_at_once
    bound = bind(task, settings.datasets[0], settings)
    begin, segment = trainer(bound, method, {})
    seeds = jnp.arange(count, dtype=jnp.int32)
    rates = jnp.full(count, 1e-3, jnp.float32)
    weights = np.ones((count, len(task.task_names)), np.float32)
    params, rows = bound.start(seeds)
    step = jax.jit(segment, donate_argnums=0)
    state = [jax.jit(begin)(params, seeds)]

    def run():
        state[0], losses = step(
            state[0], rates, weights, rows[0], bound.splits["train"]
        )
        return jax.block_until_ready(losses)

    return run


def bare_round(task, settings, method, read=lambda: None):
    """The same number of steps, one call each, on batches that lie ready.

    Before each step `read` is called.
    """
    part = settings.datasets[0]
    bound = bind(task, part, settings)
    params, rows = bound.start(jnp.zeros(1, jnp.int32))
    params = jax.tree.map(lambda leaf: leaf[0], params)
    train = bound.splits["train"]
    batches = [
        jax.tree.map(lambda leaf, own=own: leaf[own], train)
        for own in rows[0, :16, 0, 0]
    ]
    weighting = getattr(px, method)()
    engine = px.value_and_direction(
        task.losses,
        weighting,
        shared=lambda path: path[0].key != "heads",
        weight_heads=method == "total",
    )
    tx = optax.adam(optax.cosine_decay_schedule(1e-3, part.steps))

    def one(params, opt, state, batch):
        losses, direction, state = engine(params, state, batch)
        updates, opt = tx.update(direction, opt, params)
        return optax.apply_updates(params, updates), opt, state, losses

    step = jax.jit(one, donate_argnums=(0, 1, 2))
    start = (params, tx.init(params), weighting.init(len(task.task_names)))
    carry = [jax.tree.map(jnp.array, start)]

    def run():
        for i in range(part.steps):
            read()
            *rest, losses = step(*carry[0], batches[i % len(batches)])
            carry[0] = rest
        return jax.block_until_ready(losses)

    return run


def from_disk(name, batch_size):
    """A function that takes the next batch of records from the disk to the device."""
    batches = data.stream(data.records(name, "train"), batch_size, seed=0)
    return lambda: jax.device_put(next(batches))


def fastest(rounds, number):
    """Seconds of the fastest round of each, interleaved after one that warms up."""
    seconds = {name: [] for name in rounds}
    for turn in range(number + 1):
        for name, run in rounds.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: min(values) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="multi_mnist/mnist")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    steps, number, widths = (50, 4, (4,)) if chosen.quick else (200, 12, (3, 9))
    settings = settings_for(chosen.data, steps)
    task = experiments.named(chosen.data, examples=8000)
    rows, wide, disk = [], [], []
    read = from_disk(chosen.data, 64)
    for method in METHODS:
        rounds = {
            "bench": bench_round(task, settings, method),
            "bare": bare_round(task, settings, method),
            "disk": bare_round(task, settings, method, read),
        }
        for count in widths:
            many = dataclasses.replace(settings, cells_at_once=count)
            rounds[count] = bench_round(task, many, method)
        best = fastest(rounds, number)
        milliseconds = {name: 1e3 * value / steps for name, value in best.items()}
        rows.append(
            {
                "method": method,
                "bare step, ms": milliseconds["bare"],
                "bench, ms": milliseconds["bench"],
                "share of the bare speed": best["bare"] / best["bench"],
            }
        )
        disk.append(
            {
                "method": method,
                "bare step, ms": milliseconds["bare"],
                "with a batch from the disk, ms": milliseconds["disk"],
                "share of the bare speed": best["bare"] / best["disk"],
            }
        )
        wide += [
            {
                "method": method,
                "cells at once": count,
                "ms a step and cell": milliseconds[count] / count,
                "speed beside one by one": best["bench"] * count / best[count],
            }
            for count in widths
        ]
    show(f"{chosen.data}, batch 64: the bench beside the bare step", rows)
    show("cells at once (vmap) beside one by one", wide)
    show("batches from the disk (grain)", disk)


if __name__ == "__main__":
    main()
