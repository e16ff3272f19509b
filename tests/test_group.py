"""A run with task groups: results, run folder, resuming, faults, pictures."""

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.colors import to_rgba
from three_lines import task

from paretax import cli, experiments, grouping, viz
from paretax.experiments._group_config import resolved, temperature_at
from paretax.experiments._passes import examples_at_once, mean_over, shuffled_steps
from paretax.experiments._perceptron import perceptron_parts

HERE = Path(__file__).parent
OPTIONS = {
    "groups": 2,
    "steps": 200,
    "phase_steps": 50,
    "batch_size": 16,
    "learning_rate": 0.02,
    "temperature": 1.0,
}
CONFIG = experiments.GroupConfig(**OPTIONS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return experiments.group(task, CONFIG, out=tmp_path_factory.mktemp("runs") / "a")


def test_tasks_that_fit_one_trunk_share_it(finished):
    a, b, c = finished.group.tolist()
    assert a == b != c
    (trunks, heads) = finished.params.trunks, finished.params.heads
    assert trunks.shape == (2, 2)
    np.testing.assert_allclose(trunks[c] * heads[2], [1, 1], atol=0.05)
    np.testing.assert_allclose(trunks[a] * heads[1], [1.1, -1.1], atol=0.05)
    report = finished.report
    assert sorted(report["groups"], key=len) == [["rising"], ["falling", "steeper"]]
    assert max(report["test"]["loss"].values()) < 1e-2
    assert min(report["test"]["score"].values()) > 0.9


def test_the_run_folder_holds_what_it_should(finished):
    report = json.loads((finished.folder / "group.json").read_text())
    phases = report["phases"]
    assert [phase["step"] for phase in phases] == [50, 100, 150, 200]
    for phase in phases:
        p = np.asarray(phase["probabilities"])
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(p * np.log(p), axis=1)
        told = list(phase["entropy"].values())
        np.testing.assert_allclose(told, entropy, atol=1e-5)
        assert np.count_nonzero(p) <= phase["heads"] <= 6
        assert set(phase["loss"]) == set(task.task_names)
    assert phases[-1]["heads"] == 3
    assert [phase["step"] for phase in report["finetune"]] == [40]
    # Two trunks of 2 and 2·3 heads of 1; then 3 heads.
    assert report["parameters"] == {"before": 10, "after": 7}
    assert 0 < report["flops_per_step"]["after"] < report["flops_per_step"]["before"]
    a = np.asarray(report["affinity"])
    np.testing.assert_allclose(np.diag(a), 1, atol=1e-5)
    np.testing.assert_allclose(a, a.T, atol=1e-6)
    assert a[0, 1] > max(a[0, 2], a[1, 2])
    assert set(report["pruned"]["validation"]["loss"]) == set(task.task_names)
    for key in ("versions", "git_commit", "device", "seconds"):
        assert key in report
    assert json.loads((finished.folder / "config.json").read_text())["groups"] == 2
    told = (finished.folder / "group.md").read_text()
    assert "falling, steeper" in told
    assert "| parameters | 10 | 7 |" in told
    for name in ("assignment", "affinity", "dendrogram"):
        assert (finished.folder / f"{name}.png").read_bytes()[1:4] == b"PNG"


def test_trunks_in_turn_train_alike_and_are_counted_whole(finished):
    turns = experiments.group(task, dataclasses.replace(CONFIG, trunks_at_once=1))
    assert turns.group.tolist() == finished.group.tolist()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, turns.params, finished.params)
    assert turns.report["flops_per_step"] == finished.report["flops_per_step"]


def test_a_bargain_in_each_group_finds_the_same_groups(finished):
    config = dataclasses.replace(CONFIG, combiner="nash_mtl")
    result = experiments.group(task, config)
    same = lambda group: [[a == b for a in group] for b in group]
    assert same(result.group.tolist()) == same(finished.group.tolist())
    assert max(result.report["test"]["loss"].values()) < 1e-2
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), *(
        run.params.trunks for run in (result, finished)
    ))  # fmt: skip
    assert moved > 1e-3


def test_a_killed_run_resumes_to_the_same_bits(finished, tmp_path):
    """kill -9 between phases, then resume: parameters and curves of the whole run."""
    flags = [
        word
        for name, value in OPTIONS.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    code = "from paretax.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "group", "three_lines:task", *flags,
         "--out", str(tmp_path / "cut")],
        cwd=HERE, env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.time() + 300
    seen = lambda: any((tmp_path / "cut" / "checkpoints").glob("[1-9]"))
    while not seen() and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert seen()
    assert not (tmp_path / "cut" / "group.json").exists()
    with pytest.raises(FileExistsError, match="--overwrite"):
        experiments.group(task, CONFIG, out=tmp_path / "cut")
    resumed = experiments.group(task, CONFIG, out=tmp_path / "cut", resume=True)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, finished.params)
    differ = {k for k, v in resumed.report.items() if v != finished.report[k]}
    assert differ <= {"seconds"}


def test_a_finished_run_resumes_to_its_own_report(finished):
    """From the last checkpoint, which is one of finetuning."""
    again = experiments.group(task, CONFIG, out=finished.folder, resume=True)
    assert again.report == finished.report
    other = dataclasses.replace(CONFIG, temperature=2.0)
    with pytest.raises(ValueError, match=r"temperature: the run has 1\.0, asked for"):
        experiments.group(task, other, out=finished.folder, resume=True)


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "group", interrupted)
    monkeypatch.chdir(tmp_path)
    words = ["paretax", "group", "three_lines:task", "--groups", "2", "--overwrite"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "  paretax group three_lines:task --groups 2 --out runs/three_lines-groups "
        "--resume"
    )


def test_a_front_is_not_overwritten_by_groups(tmp_path):
    run = {"task": "x", **dataclasses.asdict(experiments.FrontConfig())}
    (tmp_path / "config.json").write_text(json.dumps(run))
    (tmp_path / "front.json").write_text("mine")
    with pytest.raises(FileExistsError, match="not the folder of a run"):
        experiments.group(task, CONFIG, out=tmp_path, overwrite=True)
    assert (tmp_path / "front.json").read_text() == "mine"


# --- hard cases


def spoiled(split, change):
    rows = getattr(task, split)
    return task._replace(**{split: {**rows, "y": change(rows["y"].copy())}})


def put(value):
    def change(y):
        y[3, 2] = value
        return y

    return change


def test_equal_tasks_end_in_finite_groups_by_every_choice():
    same = {
        split: {"x": rows["x"], "y": np.repeat(rows["y"][:, :1], 3, axis=1)}
        for split, rows in (("train", task.train), ("validation", task.validation))
    }
    config = experiments.GroupConfig(
        groups=3, steps=8, phase_steps=8, warm_up=2, hard=True, per_example=True,
        identical=True, optimizer="sgd", schedule="cosine", finetune_share=0.0,
        logits_learning_rate=0.01,
    )  # fmt: skip
    report = experiments.group(task._replace(**same), config).report
    assert report["finetune"] == []
    assert report["phases"][0]["heads"] == 9
    told = [report["phases"][0][key].values() for key in ("loss", "entropy")]
    assert np.isfinite([list(values) for values in told]).all()
    assert report["validation"] == report["pruned"]["validation"]
    assert report["phases"][0]["temperature"] == pytest.approx(0.5)


def test_a_task_whose_loss_overflows_is_named():
    with pytest.raises(
        experiments.NonFiniteLossError, match=r"tasks \['rising'\] are not finite in st"
    ):
        experiments.group(spoiled("train", lambda y: y * [1, 1, 1e30]), CONFIG)


ONE = task._replace(
    task_names=("falling",),
    reference=(2.0,),
    losses=lambda p, batch: task.losses(p, batch)[:1],
    parts=task.parts._replace(
        targets=lambda batch: batch["y"].T[:1],
        scores=lambda guess, batch: task.parts.scores(guess, batch)[:1],
    ),
)


@pytest.mark.parametrize(
    ("bad", "config", "message"),
    [
        (task, {"groups": 4}, "groups: expected at most one a task, 3, got 4"),
        (ONE, {"groups": 1}, "at least two tasks to group, got 1"),
        (task._replace(parts=None), {}, "see experiments.Parts"),
        (spoiled("train", put(np.nan)), {}, r"train: .* tasks \['rising'\]"),
        (spoiled("test", put(np.inf)), {}, r"test: .* tasks \['rising'\]"),
        (
            task._replace(parts=task.parts._replace(targets=lambda b: b["y"])),
            {},
            r"parts.targets: expected leaves \[3, n",
        ),
    ],
)
def test_faults_of_a_task_are_named_before_training(bad, config, message):
    with pytest.raises(ValueError, match=message):
        experiments.group(bad, experiments.GroupConfig(**config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 0}, "groups: expected at least 1"),
        ({"steps": -1}, "steps: expected at least 0"),
        ({"trunks_at_once": -1}, "trunks_at_once: expected at least 0"),
        ({"temperature": 0.0}, "temperature: expected a number above 0"),
        ({"last_temperature": -1.0}, "last_temperature: expected a number above 0"),
        ({"finetune_share": -0.1}, "finetune_share: expected a number of at least 0"),
        ({"groups": 2, "threshold": 0.5}, r"below 1/groups = 0\.5"),
        ({"combiner": "famo"}, "combiner: expected one of none, .* got 'famo'"),
        (
            {"combiner": "mgda", "per_example": True},
            "combiner: expected none with per_example, .* got mgda",
        ),
        ({"steps": 10, "warm_up": 10}, "warm_up: expected fewer than the 10 steps"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        experiments.GroupConfig(**change)


# --- parts


def test_zeros_of_a_configuration_stand_for_what_fits_the_data():
    small = resolved(experiments.GroupConfig(), 1450)
    assert (small.steps, small.phase_steps, small.patience) == (300, 15, 8)
    assert small.logits_learning_rate == pytest.approx(20 / 300)
    large = resolved(experiments.GroupConfig(batch_size=100), 100_000)
    assert (large.steps, large.phase_steps) == (8000, 400)
    for schedule, middle in (("exponential", 2.0), ("cosine", 2.5), ("constant", 4.0)):
        config = dataclasses.replace(small, schedule=schedule, last_temperature=1.0)
        assert temperature_at(config, 150) == pytest.approx(middle, rel=1e-5)


def test_rows_of_a_step_do_not_depend_on_where_the_phase_began():
    rows = jax.jit(shuffled_steps, static_argnums=(2, 3, 4))
    key = jax.random.key(0)
    whole = np.asarray(rows(key, 0, 12, 10, 3))
    for first in (2, 5):
        np.testing.assert_array_equal(
            rows(key, first, 7, 10, 3), whole[first : first + 7]
        )
    for start in range(0, 12, 3):  # passes of three steps, each row at most once
        assert len(set(whole[start : start + 3].ravel())) == 9
    x = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    np.testing.assert_allclose(mean_over(jnp.mean, jnp.asarray(x)), x.mean(), atol=1e-6)


def test_of_large_pictures_few_pass_at_once():
    pictures = np.random.default_rng(0).normal(size=(18, 2**18)).astype(np.float32)
    passed = []

    def mean(batch):
        passed.append(len(batch))
        return jnp.mean(batch)

    found = mean_over(mean, jnp.asarray(pictures))
    np.testing.assert_allclose(found, pictures.mean(), atol=1e-6)
    assert set(passed) == {16, 2}  # of 1 MiB each
    assert examples_at_once({"x": pictures, "y": pictures}, 2048) == 8
    assert examples_at_once(pictures[:3, :10], 2048) == 3
    assert examples_at_once(np.zeros((2, 2**23), np.float32), 2048) == 1


def test_a_perceptron_in_parts_is_the_perceptron():
    parts = perceptron_parts(
        3, (5, 4), 2, read=lambda b: b, loss=None, targets=None, scores=None
    )
    trunk, head = (
        parts.init_trunk(jax.random.key(0)),
        parts.init_head(jax.random.key(1)),
    )
    h = x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    first, second = trunk["layers"][0], trunk["layers"][2]
    for layer in (first, second):
        h = np.maximum(h @ layer["kernel"] + layer["bias"], 0)
    assert (first["kernel"].shape, second["kernel"].shape) == ((3, 5), (5, 4))
    expected = h @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(
        parts.head(head, parts.trunk(trunk, x)), expected, rtol=1e-4, atol=1e-5
    )


def test_finetuning_keeps_groups_apart_and_the_backbone_if_asked():
    model = grouping.grouped(
        lambda w, x: x * w, lambda v, h: h * v, lambda y, t: (y - t) ** 2,
        shared=lambda s, x: x * s,
    )  # fmt: skip
    pruned = grouping.PrunedParams(
        jnp.float32(1), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0, 3.0])
    )
    group, x = jnp.array([0, 0, 1]), jnp.ones(4)
    targets = jnp.full((3, 4), 0.5)
    for frozen in (True, False):
        tuner = grouping.finetune(model, optax.sgd(0.1), freeze_shared=frozen)
        state = tuner.init(pruned)
        new, _, f = jax.jit(tuner.update)(pruned, state, group, x, targets)
        # Outputs (1, 1, 6), errors (½, ½, 5½); dL/dout is twice the error.
        np.testing.assert_allclose(f, [0.25, 0.25, 30.25])
        np.testing.assert_allclose(new.trunks, [1 - 0.2, 2 - 3.3], rtol=1e-5)
        np.testing.assert_allclose(new.heads, [0.9, 0.9, 3 - 2.2], rtol=1e-5)
        moved = 1 - 0.1 * (1 + 1 + 11 * 6)
        assert new.shared == pytest.approx(1.0 if frozen else moved, rel=1e-5)


# --- pictures

A = np.array([[1, -0.5, 0.8], [-0.5, 1, -0.4], [0.6, -0.4, 1]])


def test_the_assignment_is_drawn_task_by_task_over_time():
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 2))
    ax = viz.assignment(p, steps=[0, 10, 20, 40], task_names=["a", "b"]).axes[0]
    drawn = np.asarray(ax.collections[0].get_array()).reshape(6, 4)
    for task_number in range(2):
        for k in range(3):
            np.testing.assert_allclose(drawn[3 * task_number + k], p[:, task_number, k])
    assert ax.yaxis_inverted()
    with pytest.raises(ValueError, match=r"expected shape \[2, 2, K\]"):
        viz.assignment(p, steps=[0, 1], task_names=["a", "b"])


def test_affinities_are_sorted_by_group_with_a_line_between():
    names = ["a", "b", "c"]
    ax = viz.affinity(A, task_names=names, group=[1, 0, 1]).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "a", "c"]
    order = [1, 0, 2]
    np.testing.assert_allclose(ax.images[0].get_array(), A[np.ix_(order, order)])
    assert [line.get_ydata()[0] for line in ax.lines[::2]] == [0.5]
    assert ax.images[0].get_clim() == (-0.8, 0.8)
    for draw in (viz.affinity, viz.dendrogram):
        with pytest.raises(ValueError, match=r"matrix: expected shape \[2, 2\]"):
            draw(A, task_names=["a", "b"])
        with pytest.raises(ValueError, match=r"group: expected shape \[3\]"):
            draw(A, task_names=names, group=[0])


def test_a_dendrogram_joins_the_most_alike_first_and_colors_groups():
    ax = viz.dendrogram(A, task_names=["a", "b", "c"], group=[0, 1, 0]).axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert abs(labels.index("a") - labels.index("c")) == 1
    for label in ax.get_yticklabels():
        color = "C1" if label.get_text() == "b" else "C0"
        assert to_rgba(label.get_color()) == to_rgba(color)
    # a and c join at 0.7, 3 % of the range 1.2 off; b at −0.45, 1.15 further.
    ends = np.unique(np.concatenate([path.vertices[:, 0] for c in ax.collections
                                     for path in c.get_paths()]).round(6))  # fmt: skip
    np.testing.assert_allclose(ends, [0, 0.036, 1.186], atol=1e-6)
    assert ax.xaxis.get_major_formatter()(1.186) == "-0.45"
    assert viz.dendrogram(A[:2, :2], task_names=["a", "b"]).axes  # all joins alike
    with pytest.raises(ValueError, match="finite numbers for at least two tasks"):
        viz.dendrogram([[1.0]], task_names=["a"])
