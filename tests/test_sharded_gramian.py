"""K and the way back on eight devices are those of one, by the collectives named."""

import functools

import processes
import pytest

ROUTES = ("auto", "factored", "explicit", "streamed")
report = functools.partial(processes.report, "sharded_gramian.py", 8)


def kinds(case):
    return [kind for kind, _ in report()[case]["collectives"]]


@pytest.mark.parametrize("check", [True, False], ids=["vma", "no vma"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_batch_split_by_shard_map_gives_the_gramian_of_the_whole(route, check):
    assert report()[f"shard_map {route} {check}"]["error"] < 1e-12


@pytest.mark.parametrize("where", ["batch", "parameters"])
@pytest.mark.parametrize("route", ROUTES)
def test_named_shardings_give_the_gramian_of_one_device(where, route):
    assert report()[f"jit {where} {route}"]["error"] < 1e-12


def test_gradients_are_scattered_and_factors_gathered_never_all_reduced():
    """After either, K takes one m×m all-reduce; no gradient of a task is whole."""
    for route in ("auto", "factored", "explicit"):
        found = report()[f"shard_map {route} True"]["collectives"]
        reduced = [shape for kind, shapes in found if kind == "all-reduce"
                   for shape in shapes]  # fmt: skip
        assert reduced.count("3,3") == 1
        assert not [shape for shape in reduced if shape.startswith("3,") and
                    shape != "3,3"]  # fmt: skip
    assert kinds("shard_map explicit True").count("all-gather") == 0
    assert "reduce-scatter" in kinds("shard_map explicit True")
    assert "all-gather" in kinds("shard_map factored True")


def test_whichever_sends_fewer_bytes_is_chosen():
    """Wide layers gather 16 rows of 64; small ones scatter 3 gradients of 7 by 64."""
    found = report()["shard_map auto True"]["collectives"]
    gathered = [shapes[0] for kind, shapes in found if kind == "all-gather"]
    scattered = [shapes[0] for kind, shapes in found if kind == "reduce-scatter"]
    assert sorted(gathered) == ["2,16,64", "3,2,16,64"]
    assert "3,56" in scattered
    assert "3,1024" not in scattered


def test_split_parameters_take_one_all_reduce_for_the_gramian():
    found = report()["jit parameters explicit"]["collectives"]
    shapes = [s for kind, shapes in found if kind == "all-reduce" for s in shapes]
    assert "3,3" in shapes
    assert "3,2,64,64" not in shapes
    assert not [kind for kind, shapes in found
                if kind == "all-gather" and "3,2,64,64" in shapes]  # fmt: skip


def test_axes_that_are_left_out_or_split_parameters_are_named():
    assert "the losses vary over ['d']" in report()["no axis_name"]
    assert "params['up']: expected the same values" in report()["split parameters"]


def test_a_weighting_that_skips_gramians_takes_the_same_steps_on_all_devices():
    assert len(report()["directions"]) == 3
    assert max(report()["directions"]) < 1e-10


def test_a_missing_task_is_left_out_on_all_devices():
    assert report()["masked"] < 1e-12
