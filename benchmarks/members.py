"""What does a step of 64 members in one program cost beside one member alone?

The MultiMNIST perceptron (324-256-64, two heads) and the LeNet of the Pareto front
literature, batch 32, own mini-batches, SGD with momentum 0.9, float32, pictures
without a meaning. Time per member and step:

* one model alone in a plain loop, one device on one core: the unit;
* 64 members on one device and one core, one after another and vectorized;
* 64 members on as many devices as cores, each running its own one after another;
* the same loop in PyTorch by one and by two threads.

With the transfer by a neighbor kernel after each step, or every eighth or 32nd (a
member then takes as many before the next begins, in PyTorch too), or without. Each
setting has a process of its own, waiting while the others work, and all take turns in
each round.
Two ratios: the median over rounds of the ratio within a round, and the ratio of the
best rounds, which a busy machine disturbs less. "torch to it": PyTorch with as many
steps between transfers, by one or two threads, what is better. A setting of PyTorch
that took ten times as long as the best setting in the first two rounds is left out of
the others.

    python benchmarks/members.py [--quick] [--networks ...] [--out members.json]
                                                            (extra: bench)
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import time
from pathlib import Path

import numpy as np
from tables import show

ALONE = "one model alone"
# name: (process, members, at once, transfer, steps from one transfer to the next)
VARIANTS = {
    ALONE: ("jax, one core", 1, 1, False, 1),
    "in one program": ("jax, one core", None, 1, True, 1),
    "without transfer": ("jax, one core", None, 1, False, 1),
    "vectorized": ("jax, one core", None, None, True, 1),
    "all cores": ("jax, all cores", None, 1, True, 1),
    "every 8": ("jax, one core", None, 1, True, 8),
    "every 8, all cores": ("jax, all cores", None, 1, True, 8),
    "every 32": ("jax, one core", None, 1, True, 32),
    "every 32, all cores": ("jax, all cores", None, 1, True, 32),
    "torch, 1 thread": ("torch, 1 thread", None, 1, True, 1),
    "torch, 2 threads": ("torch, 2 threads", None, 1, True, 1),
    "torch, 1 thread, every 8": ("torch, 1 thread", None, 1, True, 8),
    "torch, 2 threads, every 8": ("torch, 2 threads", None, 1, True, 8),
}


def worker(kind, pipe):
    """Builds programs by name and runs them when told; sends seconds."""
    cores = sorted(os.sched_getaffinity(0))
    if kind in ("jax, one core", "torch, 1 thread"):
        os.sched_setaffinity(0, cores[:1])
    if kind.startswith("jax"):
        import jax

        if kind == "jax, all cores":
            jax.config.update("jax_num_cpu_devices", len(cores))
        import programs_of_members as side
    else:
        import torch
        import torch_of_members as side

        torch.set_num_threads(int(kind.split()[1]))
    programs = {}
    while (order := pipe.recv()) is not None:
        what, name, *rest = order
        if what == "build":
            programs[name] = side.build(*rest)
            pipe.send({k: v for k, v in programs[name].items() if k != "run"})
        elif what == "run":
            start = time.perf_counter()
            programs[name]["run"]()
            pipe.send(time.perf_counter() - start)
        else:
            programs.clear()
            pipe.send(None)


class Workers:
    """Processes that work in turn."""

    def __init__(self, kinds):
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = {}, []
        for kind in kinds:
            here, there = context.Pipe()
            process = context.Process(target=worker, args=(kind, there), daemon=True)
            process.start()
            self.pipes[kind] = here
            self.processes.append(process)

    def ask(self, kind, *order):
        self.pipes[kind].send(order)
        return self.pipes[kind].recv()

    def end(self):
        for pipe in self.pipes.values():
            pipe.send(None)
        for process in self.processes:
            process.join()


def measure(workers, network, members, steps, rounds):
    """Rows of one network: a member's step, and its ratio to that of one alone."""
    variants = {n: row for n, row in VARIANTS.items() if steps > 1 or row[-1] == 1}
    built, counts = {}, {}
    for name, (kind, k, at_once, transfer, every) in variants.items():
        k = k or members
        count = max(steps, every) * members // k
        spec = {"network": network, "members": k, "at_once": at_once, "every": every,
                "transfer": transfer, "steps": count}  # fmt: skip
        built[name] = workers.ask(kind, "build", name, spec)
        counts[name] = k * count
    spent = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, (kind, *_) in variants.items():
            least = min((min(v) for v in spent.values() if v), default=np.inf)
            if turn > 2 and name.startswith("torch") and min(spent[name]) > 10 * least:
                continue
            seconds = workers.ask(kind, "run", name)
            if turn:  # the first round warms up
                spent[name].append(seconds / counts[name])
    for kind in workers.pipes:
        workers.ask(kind, "forget", "")
    spent = {name: np.asarray(values) for name, values in spent.items()}

    def torch_to(values, every, how):
        """The better of PyTorch's settings with as many steps between transfers."""
        known = [
            spent[name]
            for name, (kind, *_, n) in variants.items()
            if kind.startswith("torch") and n == every
        ]
        return how(min(known, key=min), values) if known else None

    def ratio(above, below):
        n = min(len(above), len(below))
        return float(np.median(above[:n] / below[:n]))

    def of_best(above, below):
        return float(above.min() / below.min())

    return [
        {
            "network": network,
            "members": variants[name][1] or members,
            "setting": name,
            "us a member-step": 1e6 * float(np.median(values)),
            "best": 1e6 * float(values.min()),
            "to one member": ratio(values, spent[ALONE]),
            "of the best": of_best(values, spent[ALONE]),
            "torch to it": torch_to(values, variants[name][-1], ratio),
            "of best": torch_to(values, variants[name][-1], of_best),
            "compile s": built[name]["compile_s"] or None,
            "MiB": built[name]["temp_MiB"] or None,
        }
        for name, values in spent.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 members, 3 rounds")
    networks = {"perceptron": 8, "lenet": 1}  # steps a turn; with 1 no longer rounds
    parser.add_argument("--networks", nargs="+", choices=networks, default=networks)
    parser.add_argument("--out", type=Path, default=Path("members.json"))
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    versions = {
        "machine": f"{platform.machine()}, {cores} cores, cpu",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("jax", "torch")},
    }
    members, rounds = (8, 3) if args.quick else (64, 15)
    workers = Workers(dict.fromkeys(kind for kind, *_ in VARIANTS.values()))
    rows = []
    for network in args.networks:
        rows += measure(workers, network, members, networks[network], rounds)
        results = {"versions": versions, "rounds": rounds, "rows": rows}
        args.out.write_text(json.dumps(results, indent=2))
    workers.end()
    title = ", ".join(f"{key} {value}" for key, value in versions.items())
    show(f"Members of an ensemble: {title}", rows, width=150)


if __name__ == "__main__":
    main()
