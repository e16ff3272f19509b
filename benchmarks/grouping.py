"""Does DMTG find groups that are there, are they worth it, and what does it cost?

planted: regressions of unrelated families, a new problem for each seed; the adjusted
    Rand index of DMTG's groups, and the share of the targets' square that is left,
    beside the planted groups, random ones and one trunk for all. Rates, temperature and
    start are chosen by that share (families unseen) on other problems. `best of 4` is
    the one of four starts with the least of it; `as released`: trunks alike, one rate,
    τ = 4.
real: test losses relative to naive multi-task learning (one trunk) and to random
    groups, for DMTG and its rivals, all with at most K trunks; `naive, wide` is one
    trunk with as many parameters as K. A gain is the mean over tasks of
    (baseline − loss)/baseline, the baseline the mean over seeds. Everything is chosen
    on validation with a seed that is not reported: the rate of the network for naive
    training, for the wide trunk, for groups (on random ones; rivals share it), and for
    DMTG rate, temperature, rate of the logits and start, 14 runs. The last step's
    model, no early stopping; test is looked at once for each reported run.
      DMTG                as released: all heads to the end, then pruned.
      DMTG, fine-tuned    pruned after 2/3 of the same number of steps.
      DMTG's groups anew  its groups, trained like the rivals'.
      TAG, cosine         affinities every 10 steps of naive training, best partition.
      HOA                 validation losses of all pairs, trained for a quarter of the
                          steps, to save time; best partition.
      all sets            all 2^N sets trained for all steps, best partition: exact.
    Partitions are exact (`best_grouping`) up to 10 tasks, above the best of 100 climbs
    with the same score; rivals' groups do not overlap, as DMTG's. Seconds are those of
    the whole pipeline, search and training, without compiling.
cost: seconds of a training step, medians of interleaved repeats.

Seconds are processor time, so that other programs on the machine do not count; keep
one thread and one core for figures that compare.

    python benchmarks/grouping.py [--part planted real cost] [--data ...] [--quick]
                                  [--seeds n] [--out file]          (extra: data)

Cells that are in the output file are not run again.
"""

import argparse
import itertools
import json
from pathlib import Path

import methods_of_grouping as methods
import numpy as np
import planted_of_grouping as planted
import steps_of_grouping as steps
from tables import show, versions
from tasks_of_grouping import REAL

from paretax import metrics

SELECTION_SEED = 100


def told(values):
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return f"{values.mean():.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1) / len(values) ** 0.5:.2f}"


# --- planted


def planted_part(found, args, save):
    for name in planted.CASES:
        if name not in found:
            found[name] = planted.measure(name, 2 if args.quick else 32, args.quick)
            save()
        cell = found[name]
        rows = [
            {
                "method": method,
                "adjusted Rand index": told(out["index"]),
                "seeds with index 1": f"{sum(i > 1 - 1e-6 for i in out['index'])} of "
                f"{len(out['index'])}",
                "left, % of square": told(100 * np.array(out["left"])),
            }
            for method, out in cell["found"].items()
        ]
        seconds = f"selection {cell['selection_s']:.0f} s, all {cell['all_s']:.0f} s"
        print(f"{name}: {cell['chosen']}; {seconds}, compiling included")
        show(name, rows, width=100)


# --- real


def real_part(found, args, save):
    seeds = 1 if args.quick else args.seeds
    for name in args.data:
        cells = found.setdefault(name, {"chosen": {}, "runs": {}})
        problem = REAL[name]()
        size = 40 if args.quick else problem.steps
        b = methods.bench(problem, size, cells["chosen"])
        if "dmtg" not in b.chosen:
            begun = b.clock()
            methods.choose(b, SELECTION_SEED)
            b.chosen["seconds"] = b.clock() - begun
            save()
            print(name, b.chosen, flush=True)
        rivals = [m for m in methods.METHODS if m != "all sets" or problem.exact]
        for method, seed in itertools.product(rivals, range(seeds)):
            key = f"{method}, {seed}"
            if key not in cells["runs"]:
                cells["runs"][key] = methods.measure(b, method, seed)
                save()
                seconds = cells["runs"][key]["total_s"]
                print(f"{name}, {key}: {seconds:.1f} s", flush=True)
        show(f"{name}, K = {problem.groups}", summary(problem, cells, rivals, seeds))


def summary(problem, cells, names, seeds):
    runs = {
        name: [cells["runs"][f"{name}, {seed}"] for seed in range(seeds)]
        for name in names
    }

    def gains(name, measure, over):
        values = np.array([run["test"][measure] for run in runs[over]])
        baseline = values.mean(axis=0)
        return told(
            [
                float(metrics.relative_gain(run["test"][measure], baseline))
                for run in runs[name]
            ]
        )

    rows = []
    for name, cell in runs.items():
        labels = [np.array(run["group"]) for run in cell]
        row = {
            "method": name,
            "trunks": told([len(set(run["group"])) for run in cell]),
            "gain over naive, % of loss": gains(name, "loss", "naive"),
            "over random groups": gains(name, "loss", "random groups"),
            "over naive, % of error": gains(name, "error", "naive"),
            "index between seeds": between(labels),
        }
        if problem.families is not None:
            row["index to families"] = told(
                [index(g, problem.families) for g in labels]
            )
        row["search s"] = told([run["search_s"] for run in cell])
        row["all s"] = told([run["total_s"] for run in cell])
        rows.append(row)
    return rows


def index(a, b):
    return float(metrics.adjusted_rand_index(a, b))


def between(labels):
    pairs = [index(a, b) for a, b in itertools.combinations(labels, 2)]
    return f"{np.mean(pairs):.2f}" if pairs else None


# --- cost


def cost_part(found, args, save):
    rows = []
    for name in steps.CASES:
        if name not in found:
            found[name] = steps.measure(name, 3 if args.quick else 31)
            save()
        cell = found[name]
        ms = {key: 1e3 * np.median(t) for key, t in cell["step_s"].items()}
        k = cell["groups"]
        rows.append(
            {
                "network": f"{name}, K = {k}",
                **{f"{key}, ms": value for key, value in ms.items()},
                "K·N heads / K × naive": ms["DMTG, K·N heads"]
                / (k * ms["one naive model"]),
                "/ K stacked": ms["DMTG, K·N heads"] / ms["K naive models"],
                "packed / K groups": ms["DMTG, packed"] / ms["K groups"],
                "pruned / K groups": ms["pruned"] / ms["K groups"],
                "compile s": sum(cell["compile_s"].values()),
            }
        )
    show("a training step", rows, width=180)


PARTS = {"planted": planted_part, "cost": cost_part, "real": real_part}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", nargs="+", choices=REAL, default=list(REAL))
    parser.add_argument(
        "--quick", action="store_true", help="few steps, 1 seed; into a file of its own"
    )
    parser.add_argument("--seeds", type=int, default=5, help="of the real part")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = args.out or Path("grouping_quick.json" if args.quick else "grouping.json")
    results = json.loads(out.read_text()) if out.exists() else {}
    made_by = versions()
    results["versions"] = made_by
    print(", ".join(f"{key} {value}" for key, value in made_by.items()))

    def save():
        out.write_text(json.dumps(results, indent=1))

    for name in args.part:
        PARTS[name](results.setdefault(name, {}), args, save)


if __name__ == "__main__":
    main()
