"""What does a call of each combiner cost beside TorchJD's?

Both sides get the same float32 numbers of slowly drifting gradients: the Gramian, or
where TorchJD takes only a matrix the same J of 1,024 columns, or the losses; weights
out (directions, where theirs gives no weights), memories carried from call to call, all
with their defaults. Ours is a compiled call of its own that waits for its result, and
beside it one step of a compiled loop over 16 such steps: what it costs inside a
training step, without the dispatch. Theirs is a call of its Weighting, or for those on
losses the derivative of its scalarizer. One core and one thread for both.

Gradients: "random" are normal rows with a common part, "conflict" the same with 0.8 of
their mean taken away. Both sides take turns, 2 ms or one call each; every figure is the
median over all calls. The first call (theirs) and the compilation (ours) stand apart. A
cell that takes longer than the cap ends with what it has, and `repeats` says how many
turns that were; one that does not come back is stopped, and a note says which side was
at work.

    python benchmarks/combiners.py [--quick] [--out combiners.json]    (extra: bench)
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

if hasattr(os, "sched_setaffinity"):  # one core for both sides: no thread hand-offs
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from combiners_of_combiners import ROWS, load_torch, missing
from tables import show

import paretax as px

COLUMNS = 1024
LOOP = 16
CONDITIONS = ("random", "conflict")
# Those that call a solver on the host or loop over tasks there: ten times from m = 32.
HEAVY = (
    "upgrad", "dual_proj", "cagrad", "nash_mtl", "fairgrad", "pcd", "pcgrad", "gradvac",
)  # fmt: skip


def numbers(condition, m, count):
    """Steps of drifting gradients and losses: what any row may ask for."""
    rng = np.random.default_rng([m, CONDITIONS.index(condition)])
    rows, common = rng.normal(size=(m, COLUMNS)), 1.5 * rng.normal(size=COLUMNS)
    out = []
    for _ in range(count):
        rows = 0.95 * rows + np.sqrt(1 - 0.95**2) * rng.normal(size=rows.shape)
        jac = rows + common
        jac = (jac - 0.8 * jac.mean(0)) if condition == "conflict" else jac
        jac = (jac / np.sqrt(COLUMNS)).astype(np.float32)
        other = jac + 0.3 * rng.normal(size=jac.shape).astype(np.float32) / 32
        losses = rng.uniform(0.5, 2.0, size=m).astype(np.float32)
        out.append(
            {
                "jac": jac,
                "gram": jac @ jac.T,
                "cross": jac @ other.T,
                "losses": losses,
                "losses_after": np.float32(0.9) * losses,
            }
        )
    return out


def stepper(made, needs):
    """(state, what it needs) -> (state, weights or direction), and the first state."""

    def step(state, now):
        extra = {k: now[k] for k in ("losses", "losses_after") if k in now}
        if "cross" in now:
            extra["cross_gram"] = now["cross"]
        if not isinstance(made, px.Weighting):
            return made.update(now["jac"], state, **extra)[::-1]
        gram = now.get("gram", now.get("cross"))
        if "jac" in now:
            gram = px.gramian(now["jac"])
        return made.update(gram, state, **extra)[::-1]

    return step


def compiled(made, needs, m, steps):
    """A compiled call, a compiled loop, their arguments, and the seconds they took."""
    weighting = isinstance(made, px.Weighting)
    state = made.init(m if weighting else jnp.zeros(COLUMNS))
    ours = [{k: jnp.asarray(x[k]) for k in needs} for x in steps]
    step = stepper(made, needs)
    looped = jax.tree.map(lambda *x: jnp.stack(x), *(ours * LOOP)[:LOOP])
    started = time.perf_counter()
    call = jax.jit(step).lower(state, ours[0]).compile()
    seconds = time.perf_counter() - started
    loop = jax.jit(lambda s, xs: jax.lax.scan(step, s, xs)).lower(state, looped)
    return call, loop.compile(), state, ours, looped, seconds


def timed(call, least=2e-3):
    """The seconds of each of as many calls as fill `least` seconds, one at least."""
    spent = []
    while not spent or sum(spent) < least:
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return spent


def cell(name, m, condition, rounds, cap, tell):
    """One combiner at one size, both sides in turn; `tell` gets ours before theirs."""
    row, steps = ROWS[name], numbers(condition, m, 5)
    call, loop, state, ours, looped, seconds = compiled(
        row.ours(m), row.needs, m, steps
    )
    memory = [state]

    def mine(x):
        memory[0], out = call(memory[0], x)
        return jax.block_until_ready(out)

    finite = bool(jnp.isfinite(mine(ours[0])).all())
    result = {"compile s": seconds, "finite": finite}
    alone = timed(lambda: mine(ours[0]))
    tell({**result, "ours": 1e3 * float(np.median(alone))})
    spent = {"ours": [], "in a loop": [], "theirs": []}
    if row.theirs is not None:
        t = load_torch()
        theirs = [[t.torch.from_numpy(x[k]) for k in row.needs] for x in steps]
        peer = row.theirs(t, m)
        result["their first s"] = timed(lambda: peer(*theirs[0]), 0)[0]
    started = time.perf_counter()
    for turn in range(rounds):
        k = turn % len(steps)
        spent["ours"] += timed(lambda x=ours[k]: mine(x))
        looping = timed(lambda: jax.block_until_ready(loop(state, looped)))
        spent["in a loop"] += [seconds / LOOP for seconds in looping]
        if row.theirs is not None:
            spent["theirs"] += timed(lambda x=theirs[k]: peer(*x))
        if time.perf_counter() - started > cap:
            break
    result |= {k: 1e3 * float(np.median(v)) for k, v in spent.items() if v}
    return result | {"repeats": turn + 1}


def worker(pipe):
    """Runs cells in a process that can be stopped."""
    warnings.simplefilter("ignore")  # cvxpy on inaccurate solutions and on DPP
    while (order := pipe.recv()) is not None:
        try:
            pipe.send(cell(*order, tell=pipe.send) | {"done": True})
        except Exception as error:  # the table says so and goes on
            pipe.send({"error": f"{type(error).__name__}: {error}", "done": True})


class Worker:
    """A process with both sides; stopped and begun again where a cell hangs."""

    def __init__(self):
        self.begin()

    def begin(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=worker, args=(there,), daemon=True)
        self.process.start()

    def ask(self, order, seconds):
        """What the cell found, or what it had told when it was stopped."""
        self.pipe.send(order)
        found, end = {}, time.monotonic() + seconds
        while self.pipe.poll(max(0.0, end - time.monotonic())):
            found |= self.pipe.recv()
            if "done" in found:
                return found
        self.process.terminate()
        self.process.join()
        self.begin()
        return found | {"stopped after s": seconds}

    def end(self):
        self.pipe.send(None)
        self.process.join()


def line(name, m, condition, found):
    """One row of the table."""
    ours, theirs = found.get("ours"), found.get("theirs")
    note = found.get("error", "" if found.get("finite", True) else "ours not finite")
    if "stopped after s" in found:
        which = "theirs" if ours else "ours"
        note = f"stopped: {which} takes more than {found['stopped after s']:.0f} s"
    return {
        "combiner": name,
        "m": m,
        "gradients": condition,
        "ours ms": ours,
        "in a loop ms": found.get("in a loop"),
        "theirs ms": theirs,
        "ratio": theirs / ours if ours and theirs else None,
        "compile s": found.get("compile s"),
        "their first s": found.get("their first s"),
        "repeats": found.get("repeats"),
        "theirs solves by": ROWS[name].solver,
        "note": note,
    }


CLAIMS = {
    "at least as fast from m = 8": (1.0, lambda row: row["m"] >= 8),
    "ten times as fast from m = 32 where they solve on the host": (
        10.0,
        lambda row: row["m"] >= 32 and row["combiner"] in HEAVY,
    ),
}


def verdict(rows):
    """Whether each claim holds, and where it does not."""
    told = []
    for claim, (least, meant) in CLAIMS.items():
        seen = [row for row in rows if row["ratio"] is not None and meant(row)]
        wrong = ", ".join(
            f"{row['combiner']} m={row['m']} {row['gradients']} ({row['ratio']:.2f})"
            for row in seen
            if row["ratio"] < least
        )
        answer = "not measured" if not seen else f"no: {wrong}" if wrong else "yes"
        told.append(f"{claim}: {answer}")
    noted = [f"{r['combiner']} m={r['m']} ({r['note']})" for r in rows if r["note"]]
    if noted:
        told.append(f"to look at: {', '.join(noted)}")
    return "; ".join(told)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="m = 2 and 8, 3 repeats")
    parser.add_argument("--only", nargs="*", help="these combiners")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds a cell")
    parser.add_argument("--out", type=Path, default=Path("combiners.json"))
    args = parser.parse_args()
    if missing() and not args.only:
        raise SystemExit(f"combiners and rows differ in {sorted(missing())}")
    sizes, rounds = ((2, 8), 3) if args.quick else ((2, 8, 32, 128), 9)
    versions = {
        "machine": f"{platform.machine()}, one core, cpu",
        "python": platform.python_version(),
        **{k: importlib.metadata.version(k) for k in ("jax", "torch", "torchjd")},
    }
    title = ", ".join(f"{key} {value}" for key, value in versions.items())
    results, process = {"versions": versions, "columns": COLUMNS, "rows": []}, Worker()
    for name in args.only or sorted(ROWS):
        for m in [m for m in sizes if m >= ROWS[name].least]:
            for condition in CONDITIONS:
                found = process.ask(
                    (name, m, condition, rounds, args.cap), 60 + 3 * args.cap
                )
                results["rows"].append(line(name, m, condition, found))
                args.out.write_text(json.dumps(results, indent=2))
    process.end()
    results["verdict"] = verdict(results["rows"])
    args.out.write_text(json.dumps(results, indent=2))
    show(f"{title}, n = {COLUMNS} where J is given", results["rows"], width=190)
    print(results["verdict"])


if __name__ == "__main__":
    main()
