"""Rows of the zoo: scalarizations that learn their points."""

from zoo_entry import Entry

import paretax as px

__all__ = ["ROWS"]


def _log_box(ideal, nadir):
    """−Σᵢ log(nᵢ − fᵢ), whose weights do not depend on the number of tasks."""
    m = ideal.size
    box = px.scalarizations.log_hypervolume([1 / m] * m, nadir=nadir)
    return lambda losses, *, active=None: m * box(losses, active=active)


ROWS: dict[str, Entry] = {
    "running_points": Entry(
        make=lambda m: px.running_points(_log_box, margin=0.5),
        paper="any scalarization, its ideal and nadir points learned, "
        "[Zhang & Li 2007](https://doi.org/10.1109/TEVC.2007.892759)",
        needs="losses",
        golden=(-2.0, 3.0, 3.0),
        source="by hand: the first box is (−f/2, 3f/2), so w = 2/f = (2, 1)",
        linear=True,
        equivariant=False,
    ),
}
