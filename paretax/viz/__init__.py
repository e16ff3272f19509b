"""Pictures of fronts and of the ways to them; needs the extra `viz`."""

from paretax.viz._front import front, png
from paretax.viz._trajectories import trajectories

__all__ = ["front", "png", "trajectories"]
