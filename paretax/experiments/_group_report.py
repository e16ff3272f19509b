"""What group.json, group.md and the pictures of a run with task groups hold."""

from typing import Any

import numpy as np

from paretax.experiments._cost import flops_a_step, parameters
from paretax.experiments._group_phases import Run
from paretax.experiments._group_train import TunedState

__all__ = ["markdown", "pictures", "report_of"]


def report_of(
    run: Run, state: TunedState, curves: dict[str, Any], final: dict[str, Any]
) -> dict[str, Any]:
    """The report of a finished run, from its curves and its last scores."""
    names = run.task.task_names
    group = np.asarray(state.group)
    cosines = curves["affinity"]
    rows = run.do.tune_rows(0, count=run.config.phase_steps)
    after = flops_a_step(run.counted.tune_phase, state, run.data["train"], rows)
    return {
        "task": run.task.name,
        "task_names": list(names),
        "groups": [
            [names[i] for i in np.flatnonzero(group == g)]
            for g in range(group.max() + 1)
        ],
        "pruned": {"validation": curves["pruned"]},
        **final,
        "parameters": {
            "before": parameters(run.do.start().params._replace(logits=())),
            "after": parameters(state.params),
        },
        "flops_per_step": {"before": curves["flops"], "after": after},
        "phases": curves["phases"],
        "finetune": curves["finetune"],
        "affinity": (np.asarray(cosines["sum"]) / cosines["count"]).tolist(),
        "config": run.config.__dict__,
        "seconds": round(curves["seconds"], 1),
    }


def pictures(report: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report by the names of their files."""
    from paretax import viz

    names = report["task_names"]
    number = {name: g for g, own in enumerate(report["groups"]) for name in own}
    group = [number[name] for name in names]
    phases = report["phases"]
    k = len(phases[0]["probabilities"][0])
    start = np.full((len(names), k), 1 / k)
    return {
        "assignment": viz.assignment(
            [start, *(phase["probabilities"] for phase in phases)],
            steps=[0, *(phase["step"] for phase in phases)],
            task_names=names,
        ),
        "affinity": viz.affinity(report["affinity"], task_names=names, group=group),
        "dendrogram": viz.dendrogram(report["affinity"], task_names=names, group=group),
    }


def markdown(report: dict[str, Any]) -> str:
    """The report in short, for people."""
    told = [f"# Task groups: {report['task']}", ""]
    told += [f"{g + 1}. {', '.join(own)}" for g, own in enumerate(report["groups"])]
    told += ["", "| task | group | validation loss | test loss | test score |"]
    told += ["|---|---|---|---|---|"]
    number = {name: g + 1 for g, own in enumerate(report["groups"]) for name in own}
    scores = report["test"]["score"]
    for name in report["task_names"]:
        values = [report[split]["loss"][name] for split in ("validation", "test")]
        cells = [f"{value:.4f}" for value in values]
        cells += [f"{scores[name]:.4f}" if scores else ""]
        told += [f"| {name} | {number[name]} | {' | '.join(cells)} |"]
    told += ["", "| | all heads | pruned |", "|---|---|---|"]
    for key, words in (
        ("parameters", "parameters"),
        ("flops_per_step", "flops a step"),
    ):
        before, after = report[key]["before"], report[key]["after"]
        cells = ["" if value is None else f"{value:,.0f}" for value in (before, after)]
        told += [f"| {words} | {' | '.join(cells)} |"]
    return "\n".join(told) + "\n"
