"""The tables of a report: Markdown, LaTeX, CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

__all__ = ["as_csv", "latex", "markdown", "notes", "overall_table", "tables"]

Rows = Sequence[Sequence[str]]


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader must know: how it was measured, and warnings first.

    Args:
      found: what `summary` returns.

    Returns:
      Sentences, in Markdown.

    Cost: none.
    """
    told = [
        f"**Warning**: `{row['a']}` and `{row['b']}` have "
        + ("identical" if row["difference"] == 0 else "nearly identical")
        + f" training curves on {row['dataset']}."
        for row in found["same"]
    ]
    told += [
        f"**Warning**: every learning rate diverged for `{name}` on {dataset}."
        for dataset, table in found["datasets"].items()
        for name, row in table["methods"].items()
        if row["rate"] is None
    ]
    if len(found["versions"]) > 1:
        told.append("**Warning**: the cells were made by several versions.")
    settings = found["settings"]
    rates = ", ".join(f"{rate:g}" for rate in settings["learning_rates"])
    trials = settings["tuned_weights_trials"]
    search = "within the backward passes that a method with a Gramian has"
    if trials is not None:
        search = f"among {trials} vectors"
    return [
        *told,
        "Δm %: the mean relative loss of a method's metrics against single-task models,"
        " lower is better (the sign of the Nash-MTL paper). MR: the mean over tasks of"
        " the rank among methods, 1 is best.",
        f"{len(settings['seeds'])} seeds, mean ± standard error;"
        f" {settings['optimizer']} with cosine decay, learning rate from {{{rates}}}"
        " for every method and both baselines, chosen on validation; test was read for"
        " the chosen ones alone.",
        "`tuned_weights`: linear scalarization, weights searched on validation"
        f" {search}.",
    ]


def overall_table(found: dict[str, Any]) -> Rows:
    """A row a method, best mean rank first; the first row is the header."""
    rows = [["method", "MR", *(f"Δm % {name}" for name in found["datasets"])]]
    order = sorted(found["overall"], key=lambda name: found["overall"][name]["rank"])
    for name in order:
        cells = [
            _plus_minus(
                t["methods"][name]["delta_mean"], t["methods"][name]["delta_se"]
            )
            for t in found["datasets"].values()
        ]
        rows.append([name, f"{found['overall'][name]['rank']:.2f}", *cells])
    return rows


def dataset_table(table: dict[str, Any]) -> Rows:
    """A row a method of one data set, with single-task models first."""
    heads = []
    for task in table["tasks"]:
        unit = f", {task['unit']}" if task["unit"] else ""
        arrow = "↑" if task["higher_is_better"] else "↓"
        heads.append(f"{task['task']} ({task['metric']}{unit}) {arrow}")
    rows = [
        ["method", "Δm %", "MR", *heads, "rate", "ms/step", "MB"],
        [
            "single_task", "0", "–",
            *_metrics(table["single_task"]["mean"], table["single_task"]["se"]),
            "/".join(f"{r:g}" for r in dict.fromkeys(table["single_task"]["rates"])),
            *_cost(table["single_task"]["speed"]),
        ],
    ]  # fmt: skip
    order = sorted(table["methods"], key=lambda name: table["methods"][name]["rank"])
    for name in order:
        row = table["methods"][name]
        values = ["diverged"] * len(heads)
        if row["metric_mean"] is not None:
            values = _metrics(row["metric_mean"], row["metric_se"])
        rows.append(
            [
                name,
                _plus_minus(row["delta_mean"], row["delta_se"]),
                f"{row['rank']:.2f}",
                *values,
                "–" if row["rate"] is None else f"{row['rate']:g}",
                *_cost(row["speed"]),
            ]
        )
    return rows


def paired_table(found: dict[str, Any]) -> Rows:
    """A row for each pair of methods, the surest difference first."""
    rows = [["a", "b", "pairs", "median Δm(a) − Δm(b)", "p", "p (Holm)"]]
    for row in sorted(found["paired"], key=lambda row: row["p"]):
        moved = "–" if row["difference"] is None else f"{row['difference']:.2f}"
        rows.append(
            [
                row["a"],
                row["b"],
                str(row["pairs"]),
                moved,
                f"{row['p']:.3g}",
                f"{row['p_holm']:.3g}",
            ]
        )
    return rows


def tables(found: dict[str, Any]) -> dict[str, Rows]:
    """Every table by its heading.

    Args:
      found: what `summary` returns.

    Returns:
      Heading → rows, the first row the header.

    Cost: none.
    """
    return {
        "All data sets": overall_table(found),
        **{name: dataset_table(t) for name, t in found["datasets"].items()},
        "Paired tests (Wilcoxon's signed ranks over data sets and seeds)": paired_table(
            found
        ),
    }


def markdown(found: dict[str, Any]) -> str:
    """The report as Markdown."""
    parts = ["# Benchmark", *notes(found)]
    for heading, (head, *rows) in tables(found).items():
        lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
        parts += [f"## {heading}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def latex(found: dict[str, Any]) -> str:
    """The tables as LaTeX, for the package booktabs."""
    parts = []
    for heading, (head, *rows) in tables(found).items():
        body = [_tex_line(row) for row in rows]
        parts.append(
            "\n".join(
                [
                    f"% {heading}",
                    f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
                    "\\toprule", _tex_line(head), "\\midrule", *body, "\\bottomrule",
                    "\\end{tabular}",
                ]
            )
        )  # fmt: skip
    return "\n\n".join(parts) + "\n"


def as_csv(found: dict[str, Any]) -> str:
    """One line for each data set, method, task and seed, test values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["dataset", "method", "learning_rate", "seed", "task", "metric", "unit",
         "higher_is_better", "value", "delta_m_percent"]
    )  # fmt: skip
    seeds = found["settings"]["seeds"]
    for dataset, table in found["datasets"].items():
        alone = table["single_task"]
        for i, task in enumerate(table["tasks"]):
            told = [task[k] for k in ("task", "metric", "unit", "higher_is_better")]
            for s, seed in enumerate(seeds):
                own = [alone["rates"][i], seed, *told, alone["metric"][s][i], ""]
                writer.writerow([dataset, "single_task", *own])
                for name, row in table["methods"].items():
                    value = "" if row["metric"] is None else row["metric"][s][i]
                    own = [row["rate"], seed, *told, value, row["delta"][s]]
                    writer.writerow([dataset, name, *own])
    return text.getvalue()


def _metrics(means, errors):
    errors = errors or [None] * len(means)
    return [_plus_minus(m, e, 4) for m, e in zip(means, errors, strict=True)]


def _cost(speed):
    if not speed:
        return ["–", "–"]
    return [
        f"{1e3 * speed['seconds_per_step']:.3g}",
        f"{speed['memory_bytes'] / 1e6:.3g}",
    ]


def _plus_minus(mean, error, digits=4):
    if mean is None:
        return "diverged"
    told = f"{mean:.{digits}g}"
    return told if error is None else f"{told} ± {error:.2g}"


def _line(row):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


_TEX = str.maketrans({
    "_": "\\_", "%": "\\%", "&": "\\&", "#": "\\#", "±": "$\\pm$", "Δ": "$\\Delta$",
    "↑": "$\\uparrow$", "↓": "$\\downarrow$", "−": "$-$", "–": "--", "³": "$^3$",
    "²": "$^2$", "$": "\\$", "{": "\\{", "}": "\\}", "^": "\\^{}", "~": "\\~{}",
})  # fmt: skip


def _tex_line(row):
    return " & ".join(cell.translate(_TEX) for cell in row) + " \\\\"
