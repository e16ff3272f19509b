"""What does a whole multi-task step cost beside a plain one, and beside TorchJD's?

Dense ReLU trunks (1e6: 256-768-768-256, 1e7: 512-2048-2048-2048-512 parameters) with m
linear heads, mean squared errors, SGD, float32, two threads: losses, K, weights,
direction and update in one compiled step with donated parameters, against the step of
the plain sum of losses in the same framework, and wall-clock against TorchJD on the
same network and batch. TorchJD's routes for UPGrad: mtl_backward and jac_to_grad, the
same with its Gramian option, and autogram's Engine (batch_dim=None, retained graph);
the fastest counts. UPGrad is the exact projection here and quadprog with a
regularization of 1e-4 there; Nash-MTL is exact here, and theirs has its defaults.

Each framework has a process of its own, waiting while the other works; every figure is
the median of rounds in which all variants of a row take turns. A second table forces
each route (is auto the best one?) with the peak of temporary memory that the compiler
states, a third does it for a transformer and a ResNet and shows which leaves go where.

    python benchmarks/step_cost.py [--quick] [--out step_cost.json]    (extra: bench)
"""

import argparse
import collections
import importlib.metadata
import json
import multiprocessing
import platform
import time
from pathlib import Path

import numpy as np
from tables import show

TRUNKS = {"1e6": (256, 768, 768, 256), "1e7": (512, 2048, 2048, 2048, 512)}
ROUTES = ("auto", "factored", "explicit", "streamed")
PEER_ROUTES = ("mtl_backward", "gramian option", "autogram")
BUDGET = 25.0  # seconds for the rounds of one row


def jax_worker(pipe):
    """Builds steps by name and runs them when told; sends seconds."""
    import networks_of_step_cost as networks

    steps = {}
    while (order := pipe.recv()) is not None:
        what, *rest = order
        if what == "build":
            name, spec = rest
            steps[name] = networks.build(spec)
            pipe.send({k: steps[name][k] for k in ("compile_s", "temp_MiB", "leaves")})
        elif what == "run":
            pipe.send(networks.run(steps[rest[0]]))
        else:
            steps.clear()
            pipe.send(None)


def torch_worker(pipe):
    """The same for TorchJD."""
    import torchjd_of_step_cost as peer

    steps = {}
    while (order := pipe.recv()) is not None:
        what, *rest = order
        if what == "build":
            name, spec = rest
            steps[name] = peer.build(spec)
            pipe.send({})
        elif what == "run":
            start = time.perf_counter()
            steps[rest[0]]()
            pipe.send(time.perf_counter() - start)
        else:
            steps.clear()
            pipe.send(None)


class Workers:
    """Two processes that work in turn."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.pipes = {}
        for name, target in (("jax", jax_worker), ("torch", torch_worker)):
            here, there = context.Pipe()
            context.Process(target=target, args=(there,), daemon=True).start()
            self.pipes[name] = here

    def ask(self, worker, *order):
        self.pipes[worker].send(order)
        return self.pipes[worker].recv()

    def end(self):
        for pipe in self.pipes.values():
            pipe.send(None)

    def row(self, variants, rounds):
        """Builds and times {(worker, name): spec}; medians in milliseconds."""
        built = {
            key: self.ask(key[0], "build", key[1], spec)
            for key, spec in variants.items()
        }
        spent = collections.defaultdict(list)
        start = time.perf_counter()
        for turn in range(rounds + 1):
            for worker, name in variants:
                seconds = self.ask(worker, "run", name)
                if turn:  # the first round warms up
                    spent[worker, name].append(seconds)
            if turn >= 3 and time.perf_counter() - start > BUDGET:
                break
        for worker in self.pipes:
            self.ask(worker, "forget")
        times = {key: 1e3 * float(np.median(values)) for key, values in spent.items()}
        return times, built


def peers(workers, trunk, m, batch, rounds):
    spec = {"network": "dense", "trunk": TRUNKS[trunk], "m": m, "batch": batch}
    variants = {("jax", "plain"): {**spec, "weighting": None}}
    for name in ("nash", "upgrad"):
        variants["jax", name] = {**spec, "weighting": name, "route": "auto"}
    variants["torch", "plain"] = {**spec, "weighting": None}
    for route in PEER_ROUTES:
        variants["torch", route] = {**spec, "weighting": "upgrad", "route": route}
    if m <= 8:
        variants["torch", "nash"] = {**spec, "weighting": "nash", "route": "best"}
    t, _ = workers.row(variants, rounds)
    best = min(PEER_ROUTES, key=lambda route: t["torch", route])
    theirs = t["torch", best]
    nash = t.get(("torch", "nash"))
    row = {
        "trunk": trunk,
        "m": m,
        "batch": batch,
        "plain ms": t["jax", "plain"],
        "nash/plain": t["jax", "nash"] / t["jax", "plain"],
        "upgrad/plain": t["jax", "upgrad"] / t["jax", "plain"],
        "torch plain ms": t["torch", "plain"],
        "torchjd nash/plain": nash / t["torch", "plain"] if nash else None,
        "torchjd upgrad/plain": theirs / t["torch", "plain"],
        "its best route": best,
        "upgrad: torchjd/ours": theirs / t["jax", "upgrad"],
        "nash: torchjd/ours": nash / t["jax", "nash"] if nash else None,
    }
    return row, {f"{worker} {name}": value for (worker, name), value in t.items()}


def routes(workers, spec, label, rounds, names=ROUTES):
    variants = {("jax", "plain"): {**spec, "weighting": None}}
    for route in names:
        variants["jax", route] = {**spec, "weighting": "nash", "route": route}
    t, built = workers.row(variants, rounds)
    plain = t["jax", "plain"]
    row = {**label, "plain ms": plain}
    row.update({f"{route}/plain": t["jax", route] / plain for route in names})
    best = min(t["jax", route] for route in names)
    row["auto/best"] = t["jax", "auto"] / best
    row["plain MiB"] = built["jax", "plain"]["temp_MiB"]
    row.update({f"{r} MiB": built["jax", r]["temp_MiB"] for r in names})
    row["compile s (auto)"] = built["jax", "auto"]["compile_s"]
    return row, built["jax", "auto"]["leaves"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="1e6, m = 2 and 8, batch 16"
    )
    parser.add_argument("--only", choices=("peers", "routes", "deep"), help="one table")
    parser.add_argument("--out", type=Path, default=Path("step_cost.json"))
    args = parser.parse_args()
    trunks = ("1e6",) if args.quick else ("1e6", "1e7")
    sizes = (2, 8) if args.quick else (2, 8, 32)
    batches = (16,) if args.quick else (16, 128, 1024)
    rounds = 3 if args.quick else 9
    versions = {
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores, cpu",
        "python": platform.python_version(),
        **{k: importlib.metadata.version(k) for k in ("jax", "torch", "torchjd")},
    }
    title = ", ".join(f"{key} {value}" for key, value in versions.items())
    results = {"versions": versions, "peers": [], "routes": [], "deep": []}
    workers = Workers()
    cases = [(t, m, b) for t in trunks for b in batches for m in sizes]

    def keep(table, row, more):
        results[table].append({**row, "more": more})
        args.out.write_text(json.dumps(results, indent=2))
        print(table, " ".join(f"{v}" for v in list(row.values())[:3]), flush=True)

    if args.only in (None, "peers"):
        for trunk, m, batch in cases:
            keep("peers", *peers(workers, trunk, m, batch, rounds))
    if args.only in (None, "routes"):
        for trunk, m, batch in cases:
            spec = {"network": "dense", "trunk": TRUNKS[trunk], "m": m, "batch": batch}
            label = {"trunk": trunk, "m": m, "batch": batch}
            keep("routes", *routes(workers, spec, label, rounds))
    if args.only in (None, "deep"):
        for network in ("transformer", "resnet"):
            for m in sizes[:2]:
                spec = {"network": network, "m": m, "batch": 16, "small": args.quick}
                label = {"network": network, "m": m, "batch": 16}
                # Factors of the ResNet's first layers would be 16,384² numbers each.
                names = [route for route in ROUTES if route != "factored"]
                keep("deep", *routes(workers, spec, label, rounds, names))
    for table in ("peers", "routes", "deep"):
        rows = [dict(list(row.items())[:-1]) for row in results[table]]
        if rows:
            show(f"{table}: {title}", rows, width=190)
    for row in results["deep"]:
        if row["m"] == sizes[0]:
            print(f"\n{row['network']}, m = {row['m']}\n{row['more']}")
    workers.end()


if __name__ == "__main__":
    main()
