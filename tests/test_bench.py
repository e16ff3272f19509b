"""The benchmark: cells, resumption, choices on validation, tables, known numbers."""

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import bench_tasks
import jax
import numpy as np
import pytest
from method_table import ZOO
from scipy import stats

from paretax import bench, data, experiments
from paretax.bench._cells import Cell, cell_path, read_cell, slug
from paretax.bench._group import Group, bound_of, run_group
from paretax.bench._measures import evaluator, measures
from paretax.bench._methods import make
from paretax.bench._paired import paired_tests, signed_rank
from paretax.bench._select import cells_of, read_test
from paretax.bench._tables import latex
from paretax.bench._weights import cell_weights, num_trials
from paretax.experiments._tabular import tabular

HERE = Path(__file__).parent
NAME = "bench_tasks:task"
TOML = """
steps = 12
batch_size = 16
evaluations = 3
optimizer = "sgd"
seeds = [0, 7]
learning_rates = [0.003, 0.03]
tuned_weights_trials = 2
[datasets]
"bench_tasks:task" = {}
[methods]
total = {}
"total again" = {}
nash_mtl = { max_norm = 1.0 }
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "bench.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(scope="module")
def settings(file):
    return bench.read_settings(file)


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "run"
    return out, bench.run(settings, out)


def last(folder, cell):
    return read_cell(cell_path(folder, cell)).validation_metric[-1]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "cells").rglob("*.npz"))
    }


def test_a_cell_holds_its_configuration_versions_and_curves(finished):
    folder, _ = finished
    # 2 rates × 2 seeds × (2 single tasks + 3 methods), 2 trials × 2 rates, 1 more seed
    assert len(contents(folder)) == 4 * 5 + 4 + 1
    found = read_cell(cell_path(folder, Cell(NAME, "nash_mtl", 0.03, 7)))
    assert found.config["options"] == {"max_norm": 1.0}
    assert (found.config["rate"], found.config["seed"]) == (0.03, 7)
    assert {"jax", "paretax", "device"} <= set(found.config["versions"])
    assert found.steps.tolist() == [4, 8, 12]
    for curve in found[2:5]:
        assert curve.shape == (3, 2)
        assert np.isfinite(curve).all()
    assert [leaf.shape for leaf in found.params] == [(3,), (3,), (4, 3)]


def test_training_is_momentum_with_cosine_decay_on_the_seeds_batches(
    finished, settings
):
    """The same run by NumPy, with gradients by hand."""
    folder, _ = finished
    bound, _ = bound_of(settings, NAME)
    params, rows = jax.device_get(bound.start(np.array([7])))
    a, b = (params["heads"][name][0].astype(float) for name in "ab")
    trunk = params["trunk"][0].astype(float)
    pull = [np.zeros(3), np.zeros(3), np.zeros((4, 3))]
    curve = []
    for t, own in enumerate(rows[:, :, 0, 0].reshape(12, 16)):
        x, y = (bench_tasks.task.train[name][own] for name in "xy")
        h = x @ trunk
        errors = [h @ a - y[:, 0], h @ b - y[:, 1]]
        curve.append([np.mean(error**2) for error in errors])
        gradient = [
            2 / 16 * h.T @ errors[0],
            2 / 16 * h.T @ errors[1],
            2 / 16 * x.T @ (np.outer(errors[0], a) + np.outer(errors[1], b)),
        ]
        rate = 0.03 * 0.5 * (1 + np.cos(np.pi * t / 12))
        pull = [0.9 * p + g for p, g in zip(pull, gradient, strict=True)]
        a, b, trunk = (p - rate * m for p, m in zip((a, b, trunk), pull, strict=True))
    found = read_cell(cell_path(folder, Cell(NAME, "total", 0.03, 7)))
    np.testing.assert_allclose(
        found.train_loss, np.mean(np.reshape(curve, (3, 4, 2)), axis=1), rtol=1e-4
    )
    for leaf, wanted in zip(found.params, (a, b, trunk), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-3, atol=1e-4)
    x, y = bench_tasks.task.validation["x"], bench_tasks.task.validation["y"]
    guess = np.stack([x @ trunk @ a, x @ trunk @ b], axis=1)
    wanted = np.mean((guess - y) ** 2, axis=0)
    np.testing.assert_allclose(found.validation_metric[-1], wanted, rtol=1e-3)


def test_every_seed_sees_each_example_once_an_epoch_in_its_own_order(settings):
    bound, _ = bound_of(settings, NAME)
    rows = np.asarray(bound.start(np.array([0]))[1])[:, :, :, 0].reshape(12, 4, 16)
    for epoch in (rows[:6, 0], rows[6:, 0], rows[:6, 2], rows[:6, 3]):
        assert sorted(epoch.ravel()) == list(range(96))
    np.testing.assert_array_equal(rows[1:, 1], rows[:-1, 0])
    other = np.asarray(bound.start(np.array([7]))[1])[:, :, 0, 0].reshape(12, 16)
    assert not np.array_equal(rows[:, 0], other)


def test_cells_at_once_are_the_cells_one_by_one(finished, settings, tmp_path):
    """Vectorized over three cells; what else is missing changes no bit."""
    folder, _ = finished
    wide = dataclasses.replace(settings, cells_at_once=3)
    cells = cells_of(wide, NAME, "total", 2)
    for name, some in (("all", cells), ("one", cells[2:3])):
        run_group(tmp_path / name, wide, Group(NAME, "total", some))
    for cell in cells:
        found = read_cell(cell_path(tmp_path / "all", cell))
        wanted = read_cell(cell_path(folder, cell))
        np.testing.assert_allclose(found.train_loss, wanted.train_loss, rtol=1e-5)
    one = cell_path(tmp_path / "one", cells[2]).read_bytes()
    assert one == cell_path(tmp_path / "all", cells[2]).read_bytes()


def alive(pid):
    """Whether a process is there, and not only its entry."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return told.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_killed_run_goes_on_and_computes_no_cell_twice(
    finished, file, settings, tmp_path
):
    """kill -9 of a run with two processes: they end too, and what is there stays.

    Each cell is the same file, bit for bit, as in another process's run.
    """
    out = tmp_path / "cut"
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        [sys.executable, "-c", "from paretax.cli import main; main()", "bench",
         str(file), "--out", str(out), "--jobs", "2"],
        cwd=HERE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.time() + 300
    while len(contents(out)) < 3 and time.time() < deadline:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.time() + 60
    while any(alive(pid) for pid in workers):
        assert time.time() < deadline, "the processes outlive the one that made them"
        time.sleep(0.05)
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.npz")}
    assert 3 <= len(before) < 25
    report = bench.run(settings, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(out) == contents(finished[0])
    assert without_times(report) == without_times(finished[1])


def without_times(report):
    text = re.sub(r'"speed": \{[^}]*\}', "", json.dumps(report))
    return json.loads(text.replace(", , ", ", ").replace(", }", "}"))


def test_other_settings_or_data_in_the_same_folder_are_refused(
    finished, settings, monkeypatch
):
    folder, _ = finished
    for change, told in (
        ({"learning_rates": (0.003, 0.3)}, r"learning_rates: the folder has \[0.003"),
        ({"methods": {"total": {}}}, "methods.nash_mtl.*asked for 'nothing'"),
    ):
        with pytest.raises(ValueError, match=told):
            bench.run(dataclasses.replace(settings, **change), folder)
    with pytest.raises(FileExistsError, match="not the folder of a benchmark"):
        bench.run(settings, folder / "cells")
    from paretax.bench import _folder

    bound, _ = bound_of(settings, NAME)
    monkeypatch.setattr(_folder, "bound_of", lambda *_: (bound, "00000000"))
    with pytest.raises(ValueError, match="made from other data"):
        bench.run(settings, folder)


def test_the_rate_is_chosen_on_validation_and_test_is_read_once(
    finished, settings, monkeypatch
):
    folder, report = finished
    table = report["datasets"][NAME]
    alone = np.array(
        [
            min(
                np.mean([last(folder, Cell(NAME, "single_task", r, s, i))[i]
                         for s in (0, 7)])
                for r in (0.003, 0.03)
            )
            for i in range(2)
        ]
    )  # fmt: skip
    for method in ("total", "nash_mtl"):
        score = {
            rate: np.mean(
                [100 * np.mean(last(folder, Cell(NAME, method, rate, s)) / alone - 1)
                 for s in (0, 7)]
            )
            for rate in (0.003, 0.03)
        }  # fmt: skip
        assert table["methods"][method]["rate"] == min(score, key=score.get)
        np.testing.assert_allclose(
            table["methods"][method]["validation"], min(score.values()), rtol=1e-3
        )
    assert "test" not in bound_of(settings, NAME)[0].splits
    monkeypatch.setattr("paretax.bench._select.bound_of", None)
    chosen = [Cell(NAME, "total", table["methods"]["total"]["rate"], s) for s in (0, 7)]
    found = read_test(folder, settings, NAME, "total", chosen)
    assert found["metric"] == table["methods"]["total"]["metric"]
    with pytest.raises(ValueError, match="test was read for another choice"):
        read_test(folder, settings, NAME, "total", chosen[:1])
    bench.report(folder)


def test_test_metrics_are_those_of_the_parameters_in_the_cell(finished):
    folder, report = finished
    row = report["datasets"][NAME]["methods"]["nash_mtl"]
    for seed, value in zip((0, 7), row["metric"], strict=True):
        a, b, trunk = read_cell(
            cell_path(folder, Cell(NAME, "nash_mtl", row["rate"], seed))
        ).params
        x, y = bench_tasks.task.test["x"], bench_tasks.task.test["y"]
        guess = np.stack([x @ trunk @ a, x @ trunk @ b], axis=1)
        np.testing.assert_allclose(value, np.mean((guess - y) ** 2, 0), rtol=1e-4)


def test_methods_that_are_the_same_are_flagged_and_others_are_not(finished):
    folder, report = finished
    pairs = {(row["a"], row["b"]): row["difference"] for row in report["same"]}
    assert pairs[("total", "total again")] == 0
    assert not any("nash_mtl" in pair for pair in pairs)
    assert (
        "`total` and `total again` have identical" in (folder / "report.md").read_text()
    )


def test_the_tuned_weights_are_the_best_trial_with_every_seed(finished, settings):
    folder, report = finished
    row = report["datasets"][NAME]["methods"]["tuned_weights"]
    sums = {
        (rate, trial): np.sum(last(folder, Cell(NAME, "tuned_weights", rate, 0, trial)))
        for rate in (0.003, 0.03)
        for trial in (0, 1)
    }
    assert row["rate"] == min(sums, key=sums.get)[0]
    assert len(row["metric"]) == 2
    trials = [cell_weights(Cell(NAME, "tuned_weights", 0.1, 0, t), 2) for t in (0, 1)]
    np.testing.assert_array_equal(trials[0], [1, 1])
    assert trials[1].sum() == pytest.approx(2)
    assert any(np.allclose(row["weights"], trial) for trial in trials)
    whole = dataclasses.replace(
        settings, tuned_weights_trials=None, seeds=(0, 1, 2), learning_rates=(1, 2, 3)
    )
    runs = num_trials(whole, 5) * 3 + 2
    assert 3 * 3 * 5 - 3 < runs <= 3 * 3 * 5
    assert num_trials(settings, 5) == 2


def test_the_report_is_written_in_every_form(finished):
    folder, report = finished
    rows = list(csv.DictReader((folder / "report.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 5  # tasks, seeds, three methods and two baselines
    mine = [r for r in rows if (r["method"], r["task"]) == ("nash_mtl", "b")]
    wanted = np.array(report["datasets"][NAME]["methods"]["nash_mtl"]["metric"])[:, 1]
    assert [float(row["value"]) for row in mine] == wanted.tolist()
    text = (folder / "report.tex").read_text()
    assert text.count("\\begin{tabular}") == text.count("\\bottomrule") == 3
    assert "nash\\_mtl" in text
    for name in ("gains", "curves"):
        assert (folder / f"{name}.png").read_bytes()[1:4] == b"PNG"
    page = (folder / "report.html").read_text()
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=", page)
    assert page.count("plotly-graph-div") == 3
    assert "nash_mtl" in page
    speed = report["datasets"][NAME]["methods"]["nash_mtl"]["speed"]
    assert speed["seconds_per_step"] > 0
    assert speed["memory_bytes"] > 96 * 6 * 4  # the training data at least


def test_ranks_and_gains_are_those_of_the_test_metrics(finished):
    _, report = finished
    table = report["datasets"][NAME]
    names = list(table["methods"])
    means = np.array([table["methods"][n]["metric_mean"] for n in names])
    alone = np.array(table["single_task"]["mean"])
    for name, rank in zip(names, stats.rankdata(means, axis=0).mean(1), strict=True):
        row = table["methods"][name]
        assert row["rank"] == pytest.approx(rank)
        deltas = 100 * np.mean(np.array(row["metric"]) / alone - 1, axis=1)
        np.testing.assert_allclose(row["delta"], deltas, rtol=1e-3, atol=1e-3)
        assert row["delta_se"] == pytest.approx(np.std(row["delta"], ddof=1) / 2**0.5)


def test_an_unfinished_benchmark_has_no_report(finished, settings, tmp_path):
    (tmp_path / "settings.json").write_bytes(
        (finished[0] / "settings.json").read_bytes()
    )
    with pytest.raises(FileNotFoundError, match="expected a finished benchmark"):
        bench.report(tmp_path)


def test_a_damaged_cell_is_named(finished, tmp_path):
    whole = cell_path(finished[0], Cell(NAME, "total", 0.03, 7)).read_bytes()
    (tmp_path / "cell.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cell\.npz: expected a whole cell"):
        read_cell(tmp_path / "cell.npz")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds", "sedes", "Did you mean 'seeds'"),
        ("steps = 12", "steps = 13", "steps: expected a multiple of the 3 evaluations"),
        ("steps = 12", "", "expected steps for bench_tasks:task"),
        ("[0, 7]", "[0, 0]", "seeds: expected no entry twice"),
        ("[0, 7]", "[0.5]", "seeds: expected integers"),
        ("0.003", "-1.0", "learning_rates: "),
        ('"sgd"', '"lion"', "optimizer: expected adam or sgd"),
        ("total = {}", "single_task = {}", "is a baseline, which is always there"),
        ("total = {}", "total = 1", "expected a table"),
        ("[methods]", "[methods", "expected TOML"),
    ],
)
def test_faults_of_a_file_are_named(old, new, told, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(TOML.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(told)):
        bench.read_settings(path)


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({"nahs_mtl": {}}, "Did you mean 'nash_mtl'"),
        ({"nash_mtl": {"max_nrom": 1.0}}, "Did you mean 'max_norm'"),
        ({"modo": {}}, "expected the option 'step_size'"),
        ({"cagrad": {"c": -1.0}}, "methods.cagrad: "),
        ({"moco + ema": {"step_size": 0.1}}, "a chain of several parts"),
        ({"every": {"weighting": "graddrop", "num_steps": 2}}, "expected a weighting"),
        ({"pcgrad": {"key": 3}}, "unknown option 'key'"),
    ],
)
def test_faults_of_a_method_are_named_before_anything_is_trained(
    methods, told, settings, tmp_path
):
    with pytest.raises(ValueError, match=re.escape(told)):
        bench.run(dataclasses.replace(settings, methods=methods), tmp_path / "run")
    assert not (tmp_path / "run").exists()


NEEDED = {
    "fixed": {"weights": [1.0, 2.0, 3.0]},
    "go4align": {"num_groups": 2},
    "moco": {"step_size": 0.1},
    "modo": {"step_size": 0.1},
    "trimmed_mean": {"trim": 1},
    "running_points": {"make": "log_hypervolume"},
    "every": {"weighting": {"name": "nash_mtl", "ridge": 0.1}, "num_steps": 3},
    "clip_norm": {"weighting": "mgda", "max_norm": 1.0},
    "normalize": {"weighting": "mgda"},
    "smooth": {"weighting": "mgda"},
    "prefer": {"weighting": "mgda", "preference": [0.5, 0.25, 0.25]},
}


def test_every_single_method_of_the_readme_can_be_named():
    chains = [name for name in ZOO if name.endswith((" + ema", " per layer"))]
    for name in set(ZOO) - set(chains):
        assert make(name, NEEDED.get(name, {}), 3, jax.random.key(0)) is not None
    assert len(chains) == 4


def test_names_of_files_stay_different():
    names = ["a/b", "a b", "a-b", "a+b", "a_b", "a:b", "a%b", "a%2d;b"]
    assert len({slug(name) for name in names}) == len(names)
    assert not any("/" in slug(name) for name in names)


def test_small_samples_have_the_exact_signed_rank_test():
    for seed in range(6):
        d = np.random.default_rng(seed).normal(0.4, 1, 6 + 2 * seed)
        wanted = stats.wilcoxon(d, method="exact").pvalue
        assert signed_rank(d) == pytest.approx(wanted)
    assert signed_rank(np.array([1.0, 1, 1])) == 0.25  # ties, which scipy has not
    assert signed_rank(np.zeros(4)) == 1.0
    keys = [("x", s) for s in range(4)]
    rows = paired_tests(
        {
            name: dict(zip(keys, values, strict=True))
            for name, values in {
                "a": (1, 2, 3, 4), "b": (2, 4, 6, 8), "c": (1, 1, 4, np.inf),
            }.items()
        }
    )  # fmt: skip
    assert [row["p"] for row in rows] == [0.125, 1.0, 0.25]
    assert [row["p_holm"] for row in rows] == [0.375, 1.0, 0.5]
    assert [row["pairs"] for row in rows] == [4, 3, 3]


def test_metrics_are_those_of_the_data_sets_definition():
    """The AUC, and the mean absolute error in the unit that the labels had."""
    draw = np.random.default_rng(0)

    def split(n, labels):
        return data_table(draw.normal(size=(n, 3)).astype(np.float32), labels(n))

    def task(specs, labels):
        splits = [split(n, labels) for n in (20, 20, 1500)]
        loaded = data.Dataset(
            "made_up", *splits, task_names=tuple(s.name for s in specs), source="",
            tasks=specs, statistics={},
        )  # fmt: skip
        return tabular(loaded, (5,))

    binary = [
        data.TaskSpec(name, "binary cross-entropy", metric, True)
        for name, metric in (("p", "AUC"), ("q", "accuracy"))
    ]
    made = task(tuple(binary), lambda n: draw.integers(0, 2, (n, 2)).astype(np.float32))
    params = made.init(jax.random.key(0))
    loss, found = jax.jit(evaluator(made))(params, made.test)
    z, y = np.asarray(made.outputs(params, made.test)), made.test["label"].T
    u = stats.mannwhitneyu(z[0][y[0] == 1], z[0][y[0] == 0]).statistic
    area = u / ((y[0] == 1).sum() * (y[0] == 0).sum())
    hits = np.mean((z[1] > 0) == (y[1] == 1))
    np.testing.assert_allclose(found, [area, hits], rtol=1e-5)
    entropy = np.mean(np.log1p(np.exp(-np.where(y == 1, z, -z))), axis=1)
    np.testing.assert_allclose(loss, entropy, rtol=1e-4)
    errors = tuple(
        data.TaskSpec(name, "squared error", "MAE", False, unit="meV", scale=scale)
        for name, scale in (("u0", 500.0), ("cv", 4.0))
    )
    made = task(errors, lambda n: draw.normal(size=(n, 2)).astype(np.float32))
    params = made.init(jax.random.key(1))
    _, found = jax.jit(evaluator(made))(params, made.test)
    z = np.asarray(made.outputs(params, made.test))
    off = np.abs(z - made.test["label"].T).mean(axis=1) * [500.0, 4.0]
    np.testing.assert_allclose(found, off, rtol=1e-4)
    assert [m.unit for m in measures(made)] == ["meV", "meV"]
    assert [m.higher_is_better for m in measures(made)] == [False, False]


def data_table(features, label):
    from paretax.data._contents import Table

    return Table(features, label)


# Navon et al. 2022, table 6: mean absolute errors on QM9 of three seeds, and Δm %.
QM9_ALONE = (
    0.067, 0.181, 60.57, 53.91, 0.502, 4.53, 58.8, 64.2, 63.8, 66.2, 0.072,
)  # fmt: skip
QM9_ROWS = {
    "LS": ((.106, .325, 73.57, 89.67, 5.19, 14.06, 143.4, 144.2, 144.6, 140.3, .128),
           177.6),
    "SI": ((.309, .345, 149.8, 135.7, 1.00, 4.50, 55.3, 55.75, 55.82, 55.27, .112),
           77.8),
    "RLW": ((.113, .340, 76.95, 92.76, 5.86, 15.46, 156.3, 157.1, 157.6, 153.0, .137),
            203.8),
    "DWA": ((.107, .325, 74.06, 90.61, 5.09, 13.99, 142.3, 143.0, 143.4, 139.3, .125),
            175.3),
    "UW": ((.386, .425, 166.2, 155.8, 1.06, 4.99, 66.4, 66.78, 66.80, 66.24, .122),
           108.0),
    "MGDA": ((.217, .368, 126.8, 104.6, 3.22, 5.69, 88.37, 89.4, 89.32, 88.01, .120),
             120.5),
    "PCGrad": ((.106, .293, 75.85, 88.33, 3.94, 9.15, 116.36, 116.8, 117.2, 114.5,
                .110), 125.7),
    "CAGrad": ((.118, .321, 83.51, 94.81, 3.21, 6.93, 113.99, 114.3, 114.5, 112.3,
                .116), 112.8),
    "IMTL-G": ((.136, .287, 98.31, 93.96, 1.75, 5.69, 101.4, 102.4, 102.0, 100.1,
                .096), 77.2),
    "Nash-MTL": ((.102, .248, 82.95, 81.89, 2.42, 5.38, 74.5, 75.02, 75.10, 74.16,
                  .093), 62.0),
}  # fmt: skip


@pytest.mark.parametrize("name", QM9_ROWS)
def test_the_published_gains_on_qm9_follow_from_the_published_rows(name):
    """Rows are printed to three or four digits, which moves Δm by some tenths."""
    row, published = QM9_ROWS[name]
    found = bench.delta(np.array(row), np.array(QM9_ALONE), [False] * 11)
    assert found == pytest.approx(published, abs=0.25)


def test_the_published_gains_where_directions_differ():
    """The NYUv2 table of the same paper; its row of IMTL-G gives −0.60, not −0.76."""
    higher = [True, True, False, False, False, False, True, True, True]
    alone = (38.30, 63.76, 0.6754, 0.2780, 25.01, 19.21, 30.14, 57.20, 69.15)
    nash = (40.13, 65.93, 0.5261, 0.2171, 25.26, 20.08, 28.4, 55.47, 68.15)
    linear = (39.29, 65.33, 0.5493, 0.2263, 28.15, 23.96, 22.09, 47.50, 61.08)
    for row, published in ((nash, -4.04), (linear, 5.59)):
        found = bench.delta(np.array(row), np.array(alone), higher)
        assert found == pytest.approx(published, abs=0.01)


def test_a_diverged_method_stands_last_and_is_told(finished, settings):
    _, report = finished
    copy = json.loads(json.dumps(report))
    row = copy["datasets"][NAME]["methods"]["nash_mtl"]
    row |= {"rate": None, "metric_mean": None, "delta_mean": None, "metric": None}
    from paretax.bench._summary import _rank
    from paretax.bench._tables import markdown

    methods = copy["datasets"][NAME]["methods"]
    _rank(methods, [False, False])
    assert row["rank"] == len(methods)
    told = markdown(copy)
    assert "every learning rate diverged for `nash_mtl`" in told
    assert "| diverged |" in told
    assert "diverged" in latex(copy)
    assert bench.delta(np.array([np.nan, 1]), np.ones(2), [False, False]) == np.inf


def test_tasks_of_ones_own_are_found_by_module_and_name():
    assert experiments.named(NAME) is bench_tasks.task
