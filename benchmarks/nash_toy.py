"""Which methods reach the Pareto front of the Nash-MTL toy, and where do they end?

Figure 1 of Navon et al. (arXiv:2202.01017) with more methods: five starts, Adam with a
rate of 1e-3, 35,000 steps, the first loss a tenth of the second, exact inner solvers.
All starts and all methods run in one program: the starts are members of an ensemble
(vmapped); methods have states of different structure, which no vmap can stack, so one
lax.scan steps all of them side by side. Every 50th iterate is kept.

What counts, fixed before the first run:

* Losses are divided by the range that each has on the front, which makes the front run
  from (0, 1) to (1, 0). The distance of a point is the Euclidean one to the nearest of
  100,001 points of the exact front (which are at most 2e-5 apart).
* Reached: distance below 0.01, one percent of each range. Adam moves each parameter by
  about 1e-3 a step however small the gradient is, and the normalized losses change by
  at most 0.15 a unit of a parameter there, so an iterate that hovers on the front is
  closer than 1e-3; the threshold is ten times that.
* Position: the share of the front's length from the end where the second loss is least
  (0) to the end where the first is (1). Spread: the largest position less the smallest,
  over the starts that reached the front. One point: a spread below 0.01.
* Uncertified: steps whose inner problem was not solved to its tolerance. Where
  gradients are opposed, as on the front, neither a Nash bargain nor equal positive
  projections (IMTL-G) exist, so a path that has come to stay there collects them.

Paths that cross the logarithmic ravines depend on rounding, so a second program runs 32
copies of each start, each moved by normal noise of size 1e-3, and counts those that
reach the front.

    python benchmarks/nash_toy.py [--quick] [--out FILE.json] [--picture FILE.png]
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import platform
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tables import show

import paretax as px
from paretax import ensembles, problems

STEPS, EVERY, RATE = 35_000, 50, 1e-3
COPIES, NOISE = 32, 1e-3
REACHED = ONE_POINT = 0.01
METHODS = {
    "Nash-MTL": px.nash_mtl(),
    "linear (sum)": px.total(),
    "MGDA": px.mgda(),
    "PCGrad": px.pcgrad(key=jax.random.key(0)),
    "CAGrad": px.cagrad(c=0.4),
    "IMTL-G": px.imtl_g(),
    "UPGrad": px.upgrad(),
    "EDM": px.edm(),
    "task tensioner": px.task_tensioner(alpha=0.3),
}


def descent(problem, weightings, steps):
    """A function of the starts: name -> losses [1 + steps/EVERY, starts, 2] on the way,
    and name -> how many inner problems were not solved to tolerance [starts]."""
    starts = len(problem.starts)
    txs = {
        name: ensembles.per_member(
            optax.chain(px.combine(weighting, num_tasks=2), optax.adam(RATE)), starts
        )
        for name, weighting in weightings.items()
    }

    def one(tx, theta, state, failures):
        f, jac = jax.vmap(px.value_and_jacobian(problem.losses))(theta)
        updates, state = tx.update(jac, state, theta, losses=f)
        failures = failures + ~optax.tree.get(state, "converged")
        return optax.apply_updates(theta, updates), state, failures

    def step(carry, _):
        return {name: one(txs[name], *carry[name]) for name in carry}, None

    def stretch(carry, _):
        kept = {name: theta for name, (theta, _, _) in carry.items()}
        return jax.lax.scan(step, carry, length=EVERY)[0], kept

    def run(theta):
        none = jnp.zeros(starts, int)
        carry = {name: (theta, tx.init(theta), none) for name, tx in txs.items()}
        last, kept = jax.lax.scan(stretch, carry, length=steps // EVERY)
        kept = {n: jnp.concatenate([kept[n], last[n][0][None]]) for n in kept}
        losses = jax.tree.map(jax.vmap(jax.vmap(problem.losses)), kept)
        return losses, {name: failures for name, (_, _, failures) in last.items()}

    return run


class Ruler:
    """Distances to the front and positions on it, in units of the front's ranges."""

    def __init__(self, problem):
        with jax.enable_x64(True):
            self.front = np.asarray(problem.front(100_001).losses)
        self.low, self.high = self.front.min(0), self.front.max(0)
        self.scaled = (self.front - self.low) / (self.high - self.low)
        pieces = np.linalg.norm(np.diff(self.scaled, axis=0), axis=1)
        self.position = np.concatenate([[0.0], np.cumsum(pieces)]) / pieces.sum()

    def __call__(self, point):
        point = (np.asarray(point, np.float64) - self.low) / (self.high - self.low)
        distances = np.linalg.norm(self.scaled - point, axis=1)
        nearest = np.argmin(distances)
        return float(distances[nearest]), float(self.position[nearest])


def measure(problem, steps):
    """Losses on the way, uncertified steps, and seconds of compiling and running."""
    started = time.perf_counter()
    run = jax.jit(descent(problem, METHODS, steps)).lower(problem.starts).compile()
    compiled = time.perf_counter()
    losses, failures = jax.block_until_ready(run(problem.starts))
    seconds = {"compile_s": compiled - started, "run_s": time.perf_counter() - compiled}
    return losses, failures, seconds


def end_points(losses, failures, starts, ruler):
    rows = []
    for name in METHODS:
        ends = zip(starts, losses[name][-1], failures[name], strict=True)
        for start, end, uncertified in ends:
            distance, position = ruler(end)
            rows.append(
                {
                    "method": name,
                    "start": str(tuple(start.tolist())),
                    "l1": float(end[0]),
                    "l2": float(end[1]),
                    "distance": distance,
                    "reached": distance < REACHED,
                    "position": position if distance < REACHED else None,
                    "uncertified": int(uncertified),
                }
            )
    return rows


def moved_starts(problem, ruler):
    """Of the moved copies of each start: how many reach the front."""
    noise = jax.random.normal(jax.random.key(0), (COPIES, *problem.starts.shape))
    moved = (problem.starts + NOISE * noise).reshape(-1, 2)
    losses, _, seconds = measure(problem._replace(starts=moved), STEPS)
    rows = []
    for name in METHODS:
        reached = [ruler(end)[0] < REACHED for end in losses[name][-1]]
        counts = np.sum(np.reshape(reached, (COPIES, -1)), axis=0)
        labels = [str(tuple(start)) for start in problem.starts.tolist()]
        rows.append({"method": name, **dict(zip(labels, counts.tolist(), strict=True))})
    return rows, seconds


def summary(rows):
    """Of each method: how many starts reached the front, and their spread over it."""
    answer = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == name]
        places = [row["position"] for row in mine if row["reached"]]
        answer[name] = {
            "reached": len(places),
            "starts": len(mine),
            "spread": max(places) - min(places) if places else None,
            "farthest": max(row["distance"] for row in mine),
        }
    return answer


def claims(rows, totals, right_most):
    nash, linear = totals["Nash-MTL"], totals["linear (sum)"]
    stuck = [r for r in rows if r["method"] == "linear (sum)" and not r["reached"]]
    one_point = linear["spread"] is not None and linear["spread"] < ONE_POINT
    return {
        "Nash-MTL reaches the front from all five starts": nash["reached"] == 5,
        "Nash-MTL's end points are spread over the front": nash["spread"] is not None
        and nash["spread"] > 10 * ONE_POINT,
        "linear scalarization ends at one point of the front": one_point,
        "linear scalarization fails from the right-most start, and from no other": [
            row["start"] for row in stuck
        ]
        == [right_most],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="1,000 steps, claims not judged"
    )
    parser.add_argument("--out", type=Path, help="where to save JSON")
    parser.add_argument("--picture", type=Path, help="where to save a PNG (extra: viz)")
    args = parser.parse_args()
    steps = 1_000 if args.quick else STEPS
    toy = problems.nash_toy()
    ruler = Ruler(toy)
    losses, failures, seconds = measure(toy, steps)
    rows = end_points(losses, failures, toy.starts, ruler)
    totals = summary(rows)
    start_losses = jax.vmap(toy.losses)(toy.starts)
    right_most = str(tuple(toy.starts[jnp.argmax(start_losses[:, 0])].tolist()))
    nearest = min(ruler(point)[0] for point in start_losses)
    versions = {
        "device": jax.devices()[0].device_kind,
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "python": platform.python_version(),
        **{k: importlib.metadata.version(k) for k in ("jax", "optax", "paretax")},
        "dtype": str(toy.starts.dtype),
    }
    told = ", ".join(f"{key} {value}" for key, value in versions.items())
    show(f"End points after {steps:,} steps; {told}", rows, digits=4, width=120)
    show(
        "Methods",
        [{"method": name, **total} for name, total in totals.items()],
        digits=4,
        width=120,
    )
    print(
        f"{len(METHODS)} methods, {len(toy.starts)} starts, {steps:,} steps: compiled "
        f"in {seconds['compile_s']:.2f} s, run in {seconds['run_s']:.2f} s"
    )
    print(f"The start nearest to the front is {nearest:.3f} away from it.")
    results = {
        "versions": versions,
        "steps": steps,
        **seconds,
        "threshold": REACHED,
        "nearest_start": nearest,
        "end_points": rows,
        "methods": totals,
    }
    if not args.quick:
        results["claims"] = claims(rows, totals, right_most)
        for claim, holds in results["claims"].items():
            print("PASS" if holds else "FAIL", claim)
        results["moved_starts"], more = moved_starts(toy, ruler)
        show(
            f"Of {COPIES} moved copies of each start",
            results["moved_starts"],
            digits=4,
            width=120,
        )
        print(f"compiled in {more['compile_s']:.2f} s, run in {more['run_s']:.2f} s")
    if args.out:
        args.out.write_text(json.dumps(results, indent=2))
    if args.picture:
        from paretax import viz

        panels = {name: losses[name] for name in METHODS}
        args.picture.write_bytes(viz.png(viz.trajectories(panels, ruler.front[::100])))


if __name__ == "__main__":
    main()
