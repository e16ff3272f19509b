"""The tasks of rooms and streets, on the tiny folders of test_pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_pictures import put

import paretax as px
from paretax import data, experiments, models
from paretax.bench._measures import evaluator, measures
from paretax.experiments import _scenes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Both sets; one of the rooms of test has no depth at all."""
    folder = tmp_path_factory.mktemp("scenes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETAX_DATA", str(folder / "data"))
        for name in ("nyuv2", "cityscapes"):
            put(patch, folder / name, name)
            if name == "nyuv2":
                path = folder / name / "val" / "depth" / "0.npy"
                np.save(path, np.zeros_like(np.load(path)))
            data.load(name, manual_dir=folder / name)
        yield folder / "data"


@pytest.fixture(scope="module")
def rooms(root):
    task = experiments.nyuv2(widths=(4,))
    return task, jax.jit(task.init)(jax.random.key(0))


def maps_of(params, batch):
    """The raw outputs, from the network itself."""
    net = models.SegNetMTAN((13, 1, 3), widths=(4,), rngs=nnx.Rngs(0))
    _, apply = models.as_functions(net)
    flat = {**params["heads"], **params["trunk"]}
    return [np.asarray(m, np.float64) for m in jax.jit(apply)(flat, batch["image"])]


def by_hand(maps, split):
    """Losses and scores of each picture, [m, n], NaN where nothing is known."""
    logits, depth, normal = maps
    rows = []
    for i in range(len(logits)):
        label, far, up = (
            np.asarray(getattr(split, k)[i])
            for k in ("segmentation", "depth", "normal")
        )
        there = label >= 0
        z = logits[i][there]
        log = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        entropy = -log[np.arange(len(z)), label[there]]
        hits = z.argmax(axis=1) == label[there]
        error = np.abs(depth[i] - far)[np.isfinite(far)]
        ok = np.isfinite(up).all(axis=-1)
        a, b = normal[i][ok], up[ok].astype(np.float64)
        cosine = (
            (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        )
        angle = np.degrees(np.arccos(cosine))
        nothing = np.nan
        far_off = error.mean() if error.size else nothing
        rows.append([
            [entropy.mean(), far_off, (1 - cosine).mean()],
            [hits.mean(), -far_off, -angle.mean()],
        ])  # fmt: skip
    return np.nanmean(np.array(rows), axis=0)


def test_losses_and_scores_are_means_over_pictures_of_what_is_known(rooms):
    task, params = rooms
    whole = data.load("nyuv2")
    images = [task.train["image"], task.test["image"]]
    maps = maps_of(params, {"image": np.concatenate(images)})
    first, last = [m[:9] for m in maps], [m[9:] for m in maps]
    found = jax.jit(lambda p, b: (task.losses(p, b), task.scores(p, b)))(
        params,
        task.train,  # in parts
    )
    np.testing.assert_allclose(found, by_hand(first, whole.train), rtol=1e-4)
    found = jax.jit(task.losses)(params, task.test)  # all at once
    np.testing.assert_allclose(found, by_hand(last, whole.test)[0], rtol=1e-4)
    assert len(images[0]) > _scenes._AT_ONCE > len(images[1])
    assert np.sort(task.test["known"], axis=0).tolist() == [
        [True, False, True],
        *[[True] * 3] * 2,
    ]


def test_the_benchmark_turns_the_signs_of_errors_and_skips_unknown_pictures(rooms):
    task, params = rooms
    scores = lambda p, batch: jnp.array([0.5, -2.0, -30.0]) * batch["known"][0]
    task = task._replace(losses=lambda p, batch: -scores(p, batch), scores=scores)
    losses, found = jax.jit(evaluator(task))(params, task.test)
    assert found.tolist() == [0.5, 2, 30]
    assert losses.tolist() == [-0.5, 2, 30]
    told = [(m.metric, m.unit, m.higher_is_better) for m in measures(task)]
    assert told == [("accuracy", "", True), ("MAE", "m", False), ("MAE", "°", False)]


def test_masks_and_heads_are_each_task_s_own_and_zeros_have_the_reference(rooms):
    """Own parameters stand under `heads`, where `paretax.bench` looks for them."""
    task, params = rooms
    whole = {k: params["heads"][k] for k in ("down_masks", "up_masks")}
    zeros = jax.tree.map(jnp.zeros_like, params["heads"]["heads"])
    zero = {**params, "heads": {**whole, "heads": zeros}}
    step = jax.jit(px.value_and_jacobian(task.losses))
    _, jac = step(params, task.test)
    paths = jax.tree_util.tree_flatten_with_path(jac["heads"])[0]
    for path, leaf in paths:  # heads/TASK/..., masks/STAGE/TASK/...
        own = path[1 if path[0].key == "heads" else 2].key
        others = [task for task in range(3) if task != own]
        assert not np.asarray(leaf)[others].any()
    for leaf in jax.tree.leaves(jac["trunk"]):
        assert np.asarray(leaf).reshape(3, -1).any(axis=1).all()
    losses, jac = step(zero, task.test)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jac))
    assert (losses[0], losses[2]) == (pytest.approx(np.log(13)), 1)
    depth = np.asarray(data.load("nyuv2").train.depth)
    far = np.nanmean(abs(depth), axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(task.reference, [np.log(13), far, 1], rtol=1e-5)


def test_a_front_of_streets_trains_to_its_end(root):
    task = experiments.cityscapes(widths=(4,))
    assert task.task_names == ("segmentation", "depth")
    config = experiments.FrontConfig(members=2, epochs=1, batch_size=4)
    front = experiments.front(task, config)
    assert np.isfinite(front.report["train_loss"]).all()
    assert len(front.report["hypervolume"]["test"]) == 1


def test_other_names_and_sizes_are_refused(root):
    with pytest.raises(ValueError, match="Did you mean 'nyuv2'"):
        experiments.by_name("nyuv2/small")
    with pytest.raises(ValueError, match="expected at least one number each"):
        experiments.cityscapes(widths=())
    task = experiments.cityscapes(widths=(4, 4))
    with pytest.raises(ValueError, match=r"expected sides that 2\^2 divides"):
        experiments.check_task(task)
