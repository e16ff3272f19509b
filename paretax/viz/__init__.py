"""Pictures of fronts; needs the extra `viz`."""

from paretax.viz._front import front, png

__all__ = ["front", "png"]
