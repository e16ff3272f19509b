"""Labels that are missing leave the means of their task, from the file to the table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from paretax import bench, data, experiments
from paretax.bench._measures import evaluator
from paretax.data._contents import Table
from paretax.experiments._tabular import constant_losses, known_labels, tabular

XML = "<labels>{}</labels>"
MASKED = '<label name="{}" missing="masked"/>'


def put(folder, name, kind, value, masks=("t0", "t1"), gaps=True):
    """Forty rows of two targets; of t0 every third is missing, of t1 row 7 alone."""
    lines = [f"@relation {name}", "@attribute a numeric", "@attribute b numeric"]
    lines += [f"@attribute t{i} {kind}" for i in range(2)] + ["@data"]
    for i in range(40):
        first = "?" if gaps and i % 3 == 0 else value(i)
        second = "?" if gaps and i == 7 else value(i + 1)
        lines.append(f"{i / 4},{(i * 7) % 11},{first},{second}")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.arff").write_text("\n".join(lines))
    inside = "".join(
        MASKED.format(t) if t in masks else f'<label name="{t}"/>' for t in ("t0", "t1")
    )
    (folder / f"{name}.xml").write_text(XML.format(inside))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    own, found = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("data")
    put(own, "birds", "{0,1}", lambda i: i % 2)
    put(own, "rivers", "numeric", lambda i: (i * i) % 17)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULAN_DIR", str(own))
        patch.setenv("PARETAX_DATA", str(found))
        yield found


@pytest.mark.parametrize("name", ["birds", "rivers"])
def test_a_set_with_gaps_becomes_a_sound_task_with_means_over_what_is_known(root, name):
    loaded = data.load(f"mulan/{name}")
    assert [spec.missing for spec in loaded.tasks] == ["masked", "masked"]
    gaps = [
        ~known_labels(loaded.tasks, getattr(loaded, s).label)
        for s in ("train", "validation", "test")
    ]
    assert sum(g.sum(axis=0) for g in gaps).tolist() == [14, 1]
    task = experiments.by_name(f"mulan/{name}")
    assert experiments.check_task(task) == 2
    known, label = task.train["known"], task.train["label"]
    np.testing.assert_array_equal(known, ~gaps[0])
    assert (label[~known] == 0).all()
    params = task.init(jax.random.key(0))
    z = np.asarray(task.outputs(params, task.train), np.float64)
    losses, scores = task.losses(params, task.train), task.scores(params, task.train)
    for i, spec in enumerate(loaded.tasks):
        o, y = z[i][known[:, i]], label[:, i][known[:, i]].astype(np.float64)
        if spec.loss == "squared error":
            loss, constant = (o - y) ** 2, y.var()
            score = 1 - loss
            assert abs(y.mean()) < 1e-6  # standardized by what is known
            assert y.std() == pytest.approx(1)
        else:
            loss, score = np.log1p(np.exp(o)) - y * o, (o > 0) == y
            p = y.mean()
            constant = -p * np.log(p) - (1 - p) * np.log(1 - p)
        assert losses[i] == pytest.approx(loss.mean(), rel=1e-5)
        assert scores[i] == pytest.approx(score.mean(), rel=1e-5)
        assert constant_losses(loaded)[i] == pytest.approx(constant, abs=1e-6)


def test_a_batch_that_knows_nothing_of_a_task_has_no_loss_and_no_gradient(root):
    task = experiments.by_name("mulan/birds")
    params = task.init(jax.random.key(0))
    rows = np.flatnonzero(~task.train["known"][:, 0])[:4]
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), task.train)
    jac = jax.jit(jax.jacobian(task.losses))(params, batch)
    losses = task.losses(params, batch)
    assert losses[0] == 0 == task.scores(params, batch)[0]
    assert losses[1] > 0
    for leaf in jax.tree.leaves(jac):
        assert not leaf[0].any()
    assert any(leaf[1].any() for leaf in jax.tree.leaves(jac))


def test_task_groups_see_the_same_losses_and_scores(root):
    """The parts, with every task on one trunk, beside the means over known labels."""
    task = experiments.by_name("mulan/rivers")
    parts = task.parts
    first, second = jax.random.split(jax.random.key(1))
    trunk = parts.init_trunk(first)
    heads = jax.vmap(parts.init_head)(jax.random.split(second, 2))
    batch = jax.tree.map(jnp.asarray, task.train)
    outputs = jax.vmap(parts.head, (0, None))(heads, parts.trunk(trunk, batch))
    rows = jax.vmap(parts.loss)(outputs, parts.targets(batch))
    known, label = task.train["known"].T, task.train["label"].T
    off = (np.asarray(outputs)[..., 0] - label) ** 2
    expected = [e[k].mean() for e, k in zip(off, known, strict=True)]
    np.testing.assert_allclose(rows.mean(axis=1), expected, rtol=1e-5)
    np.testing.assert_allclose(
        parts.scores(outputs, batch), 1 - np.array(expected), rtol=1e-4, atol=1e-5
    )
    config = experiments.GroupConfig(groups=2, steps=3, phase_steps=3, batch_size=8)
    found = experiments.group(task, config)
    assert found.group.shape == (2,)


def made_up(metrics, n=1500):
    """A task of random labels, half of the first unknown, with more than one chunk."""
    draw = np.random.default_rng(0)

    def split(n):
        label = draw.integers(0, 2, (n, 2))
        label[draw.random(n) < 0.5, 0] = -1
        return Table(draw.normal(size=(n, 3)).astype(np.float32), label)

    specs = tuple(
        data.TaskSpec(f"t{i}", "binary cross-entropy", metric, True, missing="masked")
        for i, metric in enumerate(metrics)
    )
    return tabular(
        data.Dataset("made_up", split(20), split(20), split(n), ("t0", "t1"), "",
                     specs, {}),
        (5,),
    )  # fmt: skip


def test_the_benchmark_averages_over_known_labels_and_not_over_batches():
    task = made_up(("AUC", "AUC"))
    params = task.init(jax.random.key(0))
    loss, found = jax.jit(evaluator(task))(params, task.test)
    z = np.asarray(task.outputs(params, task.test), np.float64)
    for i in range(2):
        known = task.test["known"][:, i]
        assert known.all() == bool(i)
        o, y = z[i][known], task.test["label"][:, i][known]
        pairs = (y == 1).sum() * (y == 0).sum()
        area = stats.mannwhitneyu(o[y == 1], o[y == 0]).statistic / pairs
        assert found[i] == pytest.approx(area, abs=1e-6)
        assert loss[i] == pytest.approx((np.log1p(np.exp(o)) - y * o).mean(), rel=1e-5)
    task = made_up(("accuracy", "accuracy"))
    _, found = jax.jit(evaluator(task))(params, task.test)
    known = task.test["known"].T
    hits = [((o > 0) == y)[k].mean() for o, y, k in zip(
        z, task.test["label"].T, known, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found, hits, rtol=1e-5)


def test_a_benchmark_and_a_front_run_to_their_ends(root, tmp_path):
    settings = bench.Settings(
        datasets=(bench.DatasetSettings("mulan/rivers", steps=4, batch_size=4),),
        methods={"famo": {}},
        seeds=(0,),
        learning_rates=(0.01,),
        evaluations=1,
        tuned_weights_trials=1,
    )
    report = bench.run(settings, tmp_path / "run")
    assert "mulan/rivers" in report["datasets"]
    task = experiments.by_name("mulan/rivers")
    config = experiments.FrontConfig(members=2, epochs=1, batch_size=8)
    front = experiments.front(task, config)
    assert len(front.report["members"]) == 2


def test_gaps_that_nothing_allows_and_rules_unknown_are_named(tmp_path):
    def fails(message):
        with pytest.raises(ValueError, match=message):
            data.load("mulan/s", data_dir=tmp_path / "data", manual_dir=tmp_path)

    put(tmp_path, "s", "{0,1}", lambda i: i % 2, masks=("t0",))
    fails(r"got none \(\?\) for t1 in row 7; where gaps are meant, say missing=")
    put(tmp_path, "s", "{0,1}", lambda i: "?")
    fails("expected values of every target in every split, got none of t0 in train")
    path = tmp_path / "s.xml"
    path.write_text(path.read_text().replace('"masked"', '"ignored"', 1))
    fails("""expected missing="masked" or "refused" of the label t0, got 'ignored'""")
    assert not list(tmp_path.rglob("*array_record*"))
