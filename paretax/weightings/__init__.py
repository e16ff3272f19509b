"""Weightings: the Gramian (or the losses) of m tasks in, m weights out."""

from paretax.weightings._aligned_mtl import aligned_mtl
from paretax.weightings._cagrad import cagrad
from paretax.weightings._clip_norm import clip_norm
from paretax.weightings._config import config
from paretax.weightings._constant import fixed, total, uniform
from paretax.weightings._db_mtl import db_mtl
from paretax.weightings._dual_proj import dual_proj
from paretax.weightings._dwa import dwa
from paretax.weightings._edm import edm
from paretax.weightings._every import every
from paretax.weightings._fairgrad import fairgrad
from paretax.weightings._famo import famo
from paretax.weightings._geometric_mean import geometric_mean
from paretax.weightings._go4align import go4align
from paretax.weightings._gradnorm import gradnorm
from paretax.weightings._gradvac import gradvac
from paretax.weightings._igb import igb
from paretax.weightings._imtl_g import imtl_g
from paretax.weightings._imtl_l import imtl_l
from paretax.weightings._krum import krum
from paretax.weightings._ldc_mtl import ldc_mtl
from paretax.weightings._mgda import mgda
from paretax.weightings._moco import moco
from paretax.weightings._modo import modo
from paretax.weightings._nash_mtl import nash_mtl
from paretax.weightings._normalize import normalize
from paretax.weightings._pcd import pcd
from paretax.weightings._pcgrad import pcgrad
from paretax.weightings._prefer import prefer
from paretax.weightings._relobralo import relobralo
from paretax.weightings._rgw import rgw
from paretax.weightings._rlw import rlw
from paretax.weightings._running_points import running_points
from paretax.weightings._scale_invariant import scale_invariant
from paretax.weightings._sdmgrad import sdmgrad
from paretax.weightings._smooth import smooth
from paretax.weightings._softadapt import softadapt
from paretax.weightings._task_tensioner import task_tensioner
from paretax.weightings._uncertainty import uncertainty
from paretax.weightings._upgrad import upgrad

__all__ = [
    "aligned_mtl",
    "cagrad",
    "clip_norm",
    "config",
    "db_mtl",
    "dual_proj",
    "dwa",
    "edm",
    "every",
    "fairgrad",
    "famo",
    "fixed",
    "geometric_mean",
    "go4align",
    "gradnorm",
    "gradvac",
    "igb",
    "imtl_g",
    "imtl_l",
    "krum",
    "ldc_mtl",
    "mgda",
    "moco",
    "modo",
    "nash_mtl",
    "normalize",
    "pcd",
    "pcgrad",
    "prefer",
    "relobralo",
    "rgw",
    "rlw",
    "running_points",
    "scale_invariant",
    "sdmgrad",
    "smooth",
    "softadapt",
    "task_tensioner",
    "total",
    "uncertainty",
    "uniform",
    "upgrad",
]
