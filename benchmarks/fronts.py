"""How many gradients does a front of models cost, and how good does it end?

Every method trains k = 8 models of one task within the same budget of gradient
evaluations (backward passes of one member): a method on the Jacobian of m tasks takes m
a step, so it makes 1/m of the steps. Every member has mini-batches of its own, so a
member-step sees 32 new examples, whatever the method. Members have SGD with momentum,
on QM9 Adam; a hypernetwork always Adam. Rates come from one grid for each of these,
which goes on while its lowest or highest is the best; the rate of each method and data
set is the one with the largest mean of the validation hypervolume over the run, with
the first seed. The test hypervolume of all seeds with that rate is reported: its end,
and the gradient evaluations until it reaches 95% of the best end of any method, the
mean of the seeds.

Preferences: an even grid whose ends keep 5% for the other task; for three tasks or more
points of the Riesz energy. Cells that are in the output file are not run again.

    python benchmarks/fronts.py [--quick] [--data ...] [--methods ...] [--out FILE.json]
        [--picture FILE.png]         (extras: data, data-census; for the picture viz)
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
from methods_of_fronts import HYPERNETWORKS, METHODS, Setting
from tables import show, versions

from paretax import ensembles, experiments, metrics

MEMBERS, BATCH, POINTS = 8, 32, 20
MARGIN = 0.1
RATES = {
    "sgd": (0.01, 0.03, 0.1, 0.3, 1.0),
    "adam": (3e-4, 1e-3, 3e-3, 1e-2),
    "hypernetwork": (1e-4, 3e-4, 1e-3, 3e-3),
}
BUDGET = 2_000  # gradient evaluations a member
# data set -> how many of its tasks are trained (None: all), the members' optimizer
DATA = {
    "multi_mnist/mnist": (None, "sgd"),
    "multi_mnist/fashion": (None, "sgd"),
    "multi_mnist/fashion_and_mnist": (None, "sgd"),
    "census_income": (None, "sgd"),
    "qm9": (3, "adam"),  # mu, alpha, homo; SGD hardly learns them
}
HELD_OUT = 5_000  # the hypervolumes are those of so many examples at most


def first_tasks(task, m):
    """The task with its first m losses only; all for None."""
    return task._replace(
        losses=lambda params, batch: task.losses(params, batch)[:m],
        task_names=task.task_names[:m],
        reference=task.reference[:m],
    )


def grid(m):
    """Preferences [k, m]."""
    if m == 2:
        points = ensembles.das_dennis(2, MEMBERS - 1)
    else:
        points = ensembles.riesz_energy(jax.random.key(0), MEMBERS, m).value
    return (1 - MARGIN) * points + MARGIN / m


def program(task, build, budget, optimizer):
    """`run(rate, seed) -> curve`, compiled once; a curve has POINTS + 1 points."""
    preferences = grid(len(task.task_names))
    probe = build(Setting(task, preferences, lambda t: 0.0, budget, optimizer))
    each = budget // probe.gradients // POINTS
    steps = each * POINTS
    count = len(jax.tree.leaves(task.train)[0])

    def schedule(rate):
        return lambda t: rate * optax.cosine_decay_schedule(1.0, steps)(t)

    def method(rate):
        return build(Setting(task, preferences, schedule(rate), steps, optimizer))

    @jax.jit
    def advance(state, rate, key, train):
        def body(state, key):
            own, method_key = jax.random.split(key)
            rows = jax.random.randint(own, (MEMBERS, BATCH), 0, count)
            batches = jax.tree.map(lambda x: x[rows], train)
            return method(rate).step(state, batches, method_key), None

        return jax.lax.scan(body, state, jax.random.split(key, each))[0]

    held_out = {
        name: first_rows(getattr(task, name)) for name in ("validation", "test")
    }
    evaluate = jax.jit(
        lambda params, rows: jax.lax.map(lambda p: task.losses(p, rows), params)
    )
    members = jax.jit(probe.members)

    def volumes(state):
        params = members(state)
        return {
            name: volume(evaluate(params, rows), task.reference)
            for name, rows in held_out.items()
        }

    train = jax.tree.map(jnp.asarray, task.train)

    def run(rate, seed):
        start, order = jax.random.split(jax.random.key(seed))
        state = method(jnp.float32(rate)).start(start)
        curves = [volumes(state)]
        seconds = 0.0
        for key in jax.random.split(order, POINTS):
            begun = time.perf_counter()
            state = advance(state, jnp.float32(rate), key, train)
            jax.block_until_ready(state)
            seconds += time.perf_counter() - begun
            curves.append(volumes(state))
        return {
            "gradients": [
                i * each * probe.gradients * MEMBERS for i in range(POINTS + 1)
            ],
            "seconds": seconds,
            **{name: [c[name] for c in curves] for name in held_out},
        }

    return run


def first_rows(split):
    return jax.tree.map(lambda x: jnp.asarray(x[:HELD_OUT]), split)


def volume(losses, reference):
    """The hypervolume; members whose losses are not finite count for nothing."""
    losses = np.asarray(losses, np.float64)
    losses = losses[np.isfinite(losses).all(1)]
    if not len(losses):
        return 0.0
    return float(metrics.hypervolume(jnp.asarray(losses), jnp.asarray(reference)))


def measure(task, name, budget, optimizer, seeds, rates, cells, save):
    """Fills `cells`, keyed by rate and seed, and saves after each; "best" is a rate."""
    compiled = functools.cache(lambda: program(task, METHODS[name], budget, optimizer))

    def cell(rate, seed):
        key = f"{rate:g}, {seed}"
        if key not in cells:
            cells[key] = compiled()(rate, seed)
            save(key)
        return cells[key]

    area = {rate: np.mean(cell(rate, 0)["validation"]) for rate in rates}
    best = max(area, key=area.get)
    while len(rates) > 1 and best in (min(area), max(area)):
        beyond = 3 * best if best == max(area) else best / 3
        rate = float(f"{beyond:.1g}")
        area[rate] = np.mean(cell(rate, 0)["validation"])
        best = max(area, key=area.get)
    cells["best"] = best
    for seed in range(1, seeds):
        cell(cells["best"], seed)


def reached(curve, gradients, level):
    """Gradient evaluations until the level, linear between points; None: never."""
    curve = np.maximum.accumulate(curve)
    if curve[-1] < level:
        return None
    i = int(np.argmax(curve >= level))
    if i == 0:
        return 0.0
    share = (level - curve[i - 1]) / (curve[i] - curve[i - 1])
    return float(gradients[i - 1] + share * (gradients[i] - gradients[i - 1]))


def summary(results, seeds):
    """Rows of the table of one data set."""
    runs = {
        name: [cells[f"{cells['best']:g}, {seed}"] for seed in range(seeds)]
        for name, cells in results.items()
    }
    ends = {name: [r["test"][-1] for r in rows] for name, rows in runs.items()}
    best = max(np.mean(values) for values in ends.values())
    rows = []
    for name, values in ends.items():
        costs = [reached(r["test"], r["gradients"], 0.95 * best) for r in runs[name]]
        known = [c for c in costs if c is not None]
        rows.append(
            {
                "method": name,
                "rate": f"{results[name]['best']:g}",
                "hypervolume": f"{np.mean(values):.3f} ± {error(values):.3f}",
                "gradients to 95%, 1000s": told(known, len(costs)),
                "seconds": f"{np.median([r['seconds'] for r in runs[name]]):.1f}",
            }
        )
    return rows


def picture(results, seeds):
    """The hypervolume against gradient evaluations, a panel a data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(results), 4.2), layout="constrained")
    for ax, (dataset, methods) in zip(
        figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True
    ):
        for i, (name, cells) in enumerate(methods.items()):
            runs = [cells[f"{cells['best']:g}, {seed}"] for seed in range(seeds)]
            ax.plot(
                np.asarray(runs[0]["gradients"]) / 1000,
                np.mean([r["test"] for r in runs], axis=0),
                label=name,
                color=f"C{i % 10}",
                linestyle="-" if i < 10 else "--",
                linewidth=2.2 if name.startswith("mt2o") else 1.1,
            )
        ax.set_title(dataset)
        ax.set_xlabel("gradient evaluations, 1000s")
    figure.axes[0].set_ylabel("test hypervolume")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    return figure


def error(values):
    return np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0


def told(known, count):
    if len(known) < count:
        return f"– ({len(known)} of {count} seeds)"
    return f"{np.mean(known) / 1000:.2f} ± {error(known) / 1000:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="1 data set, 2 methods, 1 seed, 1 rate"
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("fronts.json"))
    parser.add_argument("--picture", type=Path, help="where to save a PNG (extra: viz)")
    args = parser.parse_args()
    data, names, seeds = args.data, args.methods, args.seeds
    if args.quick:
        data, names, seeds = data[:1], names[:4:3], 1
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    made_by = versions()
    print(", ".join(f"{key} {value}" for key, value in made_by.items()))
    for dataset in data:
        kept, optimizer = DATA[dataset]
        task = first_tasks(experiments.by_name(dataset), kept)
        budget = 100 if args.quick else BUDGET
        found = results.setdefault(dataset, {})
        for name in names:
            rates = RATES["hypernetwork" if name in HYPERNETWORKS else optimizer]
            rates = rates[1:2] if args.quick else rates
            cells = found.setdefault(name, {})

            def save(key, name=name, cells=cells, dataset=dataset):
                end = cells[key]["test"][-1]
                print(f"{dataset}, {name}, {key}: {end:.3f}", flush=True)
                args.out.write_text(json.dumps(results))

            measure(task, name, budget, optimizer, seeds, rates, cells, save)
        show(dataset, summary({n: found[n] for n in names}, seeds), width=120)
    if args.picture:
        from paretax import viz

        drawn = {d: {n: results[d][n] for n in names} for d in data}
        args.picture.write_bytes(viz.png(picture(drawn, seeds)))


if __name__ == "__main__":
    main()
