"""Which tasks share a trunk: learned in one run (DMTG), or found by affinities."""

from paretax.grouping._affinity import affinity_cosine, affinity_lookahead
from paretax.grouping._assignment import assignment, entropy, groups
from paretax.grouping._clusters import cluster_trajectories, color_conflicts
from paretax.grouping._combine_groups import combine_groups
from paretax.grouping._dmtg import Assigned, check_finite_losses, dmtg
from paretax.grouping._finetune import Finetuner, finetune
from paretax.grouping._keep import Keeper, KeepState, keep_heads
from paretax.grouping._model import Grouped, grouped
from paretax.grouping._packing import Packing, kept, pack, repack
from paretax.grouping._params import GroupedParams, PrunedParams, init_params
from paretax.grouping._prune import prune
from paretax.grouping._search import (
    Grouping,
    best_grouping,
    group_scores,
    random_grouping,
)

__all__ = [
    "Assigned",
    "Finetuner",
    "Grouped",
    "GroupedParams",
    "Grouping",
    "KeepState",
    "Keeper",
    "Packing",
    "PrunedParams",
    "affinity_cosine",
    "affinity_lookahead",
    "assignment",
    "best_grouping",
    "check_finite_losses",
    "cluster_trajectories",
    "color_conflicts",
    "combine_groups",
    "dmtg",
    "entropy",
    "finetune",
    "group_scores",
    "grouped",
    "groups",
    "init_params",
    "keep_heads",
    "kept",
    "pack",
    "prune",
    "random_grouping",
    "repack",
]
