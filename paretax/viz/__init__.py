"""Pictures of fronts, of the ways to them, and of groups; needs the extra `viz`."""

from paretax.viz._bench import bench_curves, bench_gains
from paretax.viz._front import front, png
from paretax.viz._grouping import affinity, assignment, dendrogram
from paretax.viz._trajectories import trajectories

__all__ = [
    "affinity",
    "assignment",
    "bench_curves",
    "bench_gains",
    "dendrogram",
    "front",
    "png",
    "trajectories",
]
