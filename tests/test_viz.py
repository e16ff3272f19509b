"""Pictures: what is drawn, not how it looks."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from paretax import viz

FRONT = np.array([[-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])
PATH = np.random.default_rng(0).normal(size=(6, 3, 2))


@pytest.mark.parametrize("count", [1, 5, 6, 9, 11])
def test_trajectories_have_a_panel_a_method_and_all_the_same_axes(count):
    figure = viz.trajectories({f"m{i}": (1 + i) * PATH for i in range(count)}, FRONT)
    assert [ax.get_title() for ax in figure.axes] == [f"m{i}" for i in range(count)]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}) == 1
    assert viz.png(figure)[1:4] == b"PNG"
    # The lowest panel of each column says what its axis is.
    columns = [ax.get_subplotspec().colspan.start for ax in figure.axes]
    lowest = {column: index for index, column in enumerate(columns)}
    for index, ax in enumerate(figure.axes):
        assert (ax.get_xlabel() == r"$\ell_1$") == (index in lowest.values())


def test_a_panel_shows_the_front_every_point_of_the_paths_and_black_starts():
    (ax,) = viz.trajectories({"one": PATH}, FRONT).axes
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), FRONT)
    points, starts = ax.collections
    np.testing.assert_allclose(points.get_offsets(), PATH.reshape(-1, 2))
    np.testing.assert_allclose(starts.get_offsets(), PATH[0])
    assert (starts.get_facecolors() == to_rgba("black")).all()
    light = points.get_facecolors()[:, :3].sum(axis=1).reshape(6, 3)
    assert (np.diff(light, axis=0) < 0).all()  # darker with time
    assert (np.ptp(light, axis=1) == 0).all()  # and alike from every start


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="paths: expected at least one method"):
        viz.trajectories({}, FRONT)
    with pytest.raises(ValueError, match=r"front: expected shape \[n, 2\], got \(3,\)"):
        viz.trajectories({"one": PATH}, FRONT[:, 0])
    with pytest.raises(ValueError, match=r"paths\['one'\]: .* got \(6, 2\)"):
        viz.trajectories({"one": PATH[:, 0]}, FRONT)
