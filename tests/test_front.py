"""The main job on a task with a known front: results, run folder, faults."""

import dataclasses
import json
import resource

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from two_lines import task

from paretax import experiments
from paretax.experiments import _train
from paretax.experiments._config import preferences
from paretax.experiments._devices import placement
from paretax.experiments._passes import shuffled

CONFIG = experiments.FrontConfig(
    members=5, epochs=4, batch_size=16, learning_rate=0.05, coupling_fade=0.05
)

GROWN = dataclasses.replace(
    CONFIG, common_passes=3, common_rate=0.5, averaged=True, transfer_every=3
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return experiments.front(task, CONFIG, out=out)


def test_members_end_on_the_known_front_in_the_order_of_preference(finished):
    """With weights (p, 1−p) the best slope is 1 − 2p: losses (4(1−p)²σ², 4p²σ²)."""
    p = np.asarray(finished.preferences)[:, 0]
    assert (np.diff(p) < 0).all()
    np.testing.assert_allclose(finished.params["slope"], 1 - 2 * p, atol=0.05)
    np.testing.assert_allclose(finished.params["offset"], 1.0, atol=0.05)
    falling = [m["test"]["loss"]["falling"] for m in finished.report["members"]]
    assert (np.diff(falling) > 0).all()


def test_the_run_folder_holds_what_it_should(finished):
    report = json.loads((finished.folder / "front.json").read_text())
    assert len(report["members"]) == 5
    for member in report["members"]:
        assert sum(member["preference"]) == pytest.approx(1, abs=1e-5)
        for split in ("train", "validation", "test"):
            assert set(member[split]["loss"]) == {"falling", "rising"}
            assert member[split]["accuracy"] is None
    assert report["hypervolume"]["reference"] == [2.0, 2.0]
    assert len(report["hypervolume"]["test"]) == CONFIG.epochs
    for key in ("versions", "git_commit", "device", "seconds", "config"):
        assert key in report
    assert report["config"]["seed"] == 0
    config = json.loads((finished.folder / "config.json").read_text())
    assert config["members"] == 5
    assert (finished.folder / "front.png").read_bytes()[1:4] == b"PNG"


def test_the_same_run_twice_is_the_same_bit_for_bit_and_another_seed_is_not(finished):
    again = experiments.front(task, CONFIG)
    assert again.folder is None
    np.testing.assert_array_equal(again.params["slope"], finished.params["slope"])
    assert again.report["hypervolume"] == finished.report["hypervolume"]
    other = experiments.front(
        task, experiments.FrontConfig(**{**CONFIG.__dict__, "seed": 1})
    )
    assert not np.array_equal(other.params["slope"], finished.params["slope"])


@pytest.mark.parametrize(
    "change",
    [
        {"coupling": "distance", "scalarization": "tchebycheff"},
        {"coupling": "none", "scalarization": "smooth-tchebycheff"},
        {"coupling": "adaptive", "optimizer": "adam"},
        {"coupling_fade": 0.0, "coupling_strength": 0.01, "transfer_every": 3},
        {"transfer": "states", "transfer_every": 4},
        {"common_passes": 1, "optimizer": "adam", "transfer": "states"},
        {"averaged": True},
    ],
    ids=str,
)
def test_every_choice_trains(change):
    config = experiments.FrontConfig(**{**CONFIG.__dict__, **change})
    report = experiments.front(task, config).report
    losses = [sum(m["test"]["loss"].values()) for m in report["members"]]
    assert max(losses) < 2.0
    assert report["hypervolume"]["test"][-1] > 1.5


def test_a_common_start_is_one_model_on_the_mean_of_the_losses():
    """By hand: three passes of momentum descent with a cosine decay."""
    count, where = len(task.train["x"]), placement(CONFIG.members, 1)
    grid = preferences(GROWN, 2)
    state = _train.initial_state(task, GROWN, grid, count, where)
    params = jax.tree.map(lambda x: x[0], jax.device_get(state.params))
    state = _train.common_start(task, GROWN, count, where)(state, task.train)
    key = jax.random.fold_in(jax.random.key(GROWN.seed), 0)
    keys = [jax.random.fold_in(key, number) for number in range(3)]
    rows = np.concatenate([shuffled(k, count, GROWN.batch_size) for k in keys])
    trace = jax.tree.map(jnp.zeros_like, params)
    gradient = jax.jit(jax.grad(lambda p, batch: task.losses(p, batch).mean()))
    for t, row in enumerate(rows):
        batch = jax.tree.map(lambda x, row=row: x[row], task.train)
        grads = gradient(params, batch)
        trace = jax.tree.map(lambda m, g: 0.9 * m + g, trace, grads)
        rate = 0.05 * 0.5 * 0.5 * (1 + np.cos(np.pi * t / len(rows)))
        params = jax.tree.map(lambda p, m, r=rate: p - r * m, params, trace)
    for found in (state.params, _train.readout(state)):
        for name, leaf in params.items():
            wanted = np.broadcast_to(leaf, found[name].shape)
            np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_an_averaged_run_is_read_out_as_the_average_of_its_rounds():
    """Three steps a round, and a last shorter one; round by round."""
    count, where = len(task.train["x"]), placement(CONFIG.members, 1)
    grid = preferences(GROWN, 2)
    kept = dataclasses.replace(GROWN, common_passes=0)
    state = _train.initial_state(task, kept, grid, count, where)
    mean = jax.device_get(state.params)
    rounds = _train._rounds(task, kept, grid, count, where)
    params, inner = jax.device_get(state.params), state.optimizer
    orders = _train._orders(kept, count, where, 0)
    pieces = [orders[:, i : i + 3] for i in range(0, orders.shape[1], 3)]
    assert {piece.shape[1] for piece in pieces} == {3, 2}
    step = jax.jit(rounds.update)
    for turn, piece in enumerate(pieces):
        params, inner, _ = step(params, inner, piece, grid, task.train)
        share = 9 / (turn + 9)
        mean = jax.tree.map(lambda a, p, c=share: a + c * (p - a), mean, params)
    state, _ = _train.trainer(task, kept, grid, count, where)(state, task.train)
    for found, wanted in ((state.params, params), (_train.readout(state), mean)):
        for name, leaf in wanted.items():
            np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5)


def test_an_existing_folder_is_never_overwritten_unasked(finished, tmp_path):
    before = (finished.folder / "front.json").read_bytes()
    with pytest.raises(FileExistsError, match="--overwrite"):
        experiments.front(task, CONFIG, out=finished.folder)
    assert (finished.folder / "front.json").read_bytes() == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not the folder of a run"):
        experiments.front(task, CONFIG, out=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_overwriting_spares_what_no_run_wrote(tmp_path):
    """Many programs keep a config.json: it does not make a folder a run's."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FileExistsError, match="not the folder of a run"):
        experiments.front(task, CONFIG, out=tmp_path, overwrite=True)
    assert "bert" in (tmp_path / "config.json").read_text()
    run = tmp_path / "run"
    short = dataclasses.replace(CONFIG, epochs=1)
    experiments.front(task, CONFIG, out=run)
    (run / "notes.txt").write_text("mine")
    experiments.front(task, short, out=run, overwrite=True)
    assert (run / "notes.txt").read_text() == "mine"
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["1"]


def test_resuming_on_other_data_is_refused(finished):
    other = {**task.train, "x": task.train["x"] + np.float32(1e-3)}
    with pytest.raises(ValueError, match="data: the run has"):
        experiments.front(
            task._replace(train=other), CONFIG, out=finished.folder, resume=True
        )


def test_the_fingerprint_tells_data_apart_of_every_type():
    from paretax.experiments._task import fingerprint

    seen = set()
    for dtype in (jnp.bfloat16, np.float32, np.uint8, bool):
        for value in (0, 1):
            rows = np.full((4, 2), value).astype(dtype)
            seen.add(fingerprint(task._replace(train=rows)))
            assert fingerprint(task._replace(train=rows.copy())) in seen
    assert len(seen) == 8


def test_a_resumed_run_counts_all_its_seconds(finished, tmp_path):
    resumed = experiments.front(task, CONFIG, out=finished.folder, resume=True)
    assert resumed.report["seconds"] == finished.report["seconds"] > 0


def test_parameters_that_end_up_not_finite_are_reported():
    """The last step's loss was finite, the parameters after it are not."""
    rows = np.ones(4, np.float32)

    def losses(params, batch):
        return jnp.stack([jnp.sqrt(params) * jnp.mean(batch), 1.0 + 0.0 * params])

    spoiled = experiments.Task(
        "spoiled", lambda key: jnp.zeros(()), losses, None, rows, rows, rows,
        ("a", "b"), (1.0, 1.0),
    )  # fmt: skip
    config = experiments.FrontConfig(members=2, epochs=1, batch_size=4)
    with pytest.raises(experiments.NonFiniteLossError, match="member 0"):
        experiments.front(spoiled, config)


def test_resuming_with_another_configuration_names_the_field(finished):
    other = experiments.FrontConfig(**{**CONFIG.__dict__, "learning_rate": 0.01})
    with pytest.raises(
        ValueError, match=r"learning_rate: the run has 0\.05, asked for"
    ):
        experiments.front(task, other, out=finished.folder, resume=True)


def test_resuming_nothing_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a run to resume, found none"):
        experiments.front(task, CONFIG, out=tmp_path / "none", resume=True)
    with pytest.raises(ValueError, match="out: expected the folder"):
        experiments.front(task, CONFIG, resume=True)


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path, monkeypatch):
    real = ocp.CheckpointManager.save

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(self, step, *args, **kwargs):
        if step < 3:
            return real(self, step, *args, **kwargs)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # every write now fails
        try:
            return real(self, step, *args, **kwargs)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", full)
        with pytest.raises(OSError, match=r"epoch 3 could not be .* \(2 is whole\)"):
            experiments.front(task, GROWN, out=tmp_path / "run")
    resumed = experiments.front(task, GROWN, out=tmp_path / "run", resume=True)
    whole = experiments.front(task, GROWN)
    np.testing.assert_array_equal(resumed.params["slope"], whole.params["slope"])
    assert resumed.report["hypervolume"] == whole.report["hypervolume"]


def test_a_diverging_member_is_named():
    config = experiments.FrontConfig(members=2, epochs=3, learning_rate=1e4)
    with pytest.raises(experiments.NonFiniteLossError, match=r"member 0 \(preference"):
        experiments.front(task, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": (1.0,)}, "reference: expected one number for each of the 2"),
        ({"train": {"x": task.train["x"]}}, "validation: expected the structure"),
        (
            {"test": {**task.test, "x": np.full(100, np.nan, np.float32)}},
            r"test\['x'\]: expected finite numbers, got \[nan\] \.\.\. in example 0",
        ),
        ({"test": {**task.test, "x": task.test["x"][:5]}}, "one number of examples"),
        (
            {"test": {name: leaf[:0] for name, leaf in task.test.items()}},
            "test: expected at least one example",
        ),
        (
            {"losses": lambda p, b: jnp.sum(task.losses(p, b))},
            r"losses: expected shape \(2,\)",
        ),
        (
            {"scores": lambda p, b: jnp.ones(3)},
            r"scores: expected shape \(2,\)",
        ),
    ],
)
def test_faults_of_a_task_are_named_before_training(change, message):
    with pytest.raises(ValueError, match=message):
        experiments.front(task._replace(**change), CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 1}, "members: expected at least 2"),
        ({"epochs": 0}, "epochs: expected at least 1"),
        ({"common_passes": -1}, "common_passes: expected at least 0"),
        ({"common_rate": 0.0}, "common_rate: expected a number above 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
        ({"coupling": "ring"}, "coupling: expected one of neighbor, .* got 'ring'"),
        ({"coupling": "adaptive", "transfer_every": 2}, "transfer_every: expected 1"),
        ({"margin": 1.0}, r"margin: expected a number in \[0, 1\)"),
        ({"coupling_fade": -1.0}, "coupling_fade: expected a number of at least 0"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        experiments.FrontConfig(**change)


def test_a_task_must_be_a_task():
    with pytest.raises(TypeError, match=r"expected an experiments\.Task, got dict"):
        experiments.front({}, CONFIG)


def test_three_tasks_have_a_front_too():
    def losses(params, batch):
        return jnp.mean(batch) * jnp.mean((params - jnp.eye(3)) ** 2, axis=1)

    rows = np.ones(512, np.float32)
    three = experiments.Task(
        "three", lambda key: jnp.zeros(3), losses, None, rows, rows, rows,
        ("a", "b", "c"), (1.0, 1.0, 1.0),
    )  # fmt: skip
    result = experiments.front(three, CONFIG)
    np.testing.assert_allclose(result.params, result.preferences, atol=0.1)
    assert 0.1 < result.report["hypervolume"]["test"][-1] < 1.0
    assert jax.tree.leaves(result.params)[0].shape == (5, 3)
