"""Methods compared on real data: one TOML file in, tables and a report out."""

from paretax.bench._report import headline, report
from paretax.bench._run import run
from paretax.bench._select import delta
from paretax.bench._settings import DatasetSettings, Settings, read_settings

__all__ = [
    "DatasetSettings",
    "Settings",
    "delta",
    "headline",
    "read_settings",
    "report",
    "run",
]
