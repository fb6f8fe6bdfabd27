"""Runs: the loop around a runtime, with records, evaluations and checkpoints; and what is made of a run afterwards."""

from nigt_jax.runs._again import evaluate
from nigt_jax.runs._episode import Episode, record_episode
from nigt_jax.runs._group import train_group
from nigt_jax.runs._loop import Told
from nigt_jax.runs._resources import resources
from nigt_jax.runs._shipped import export, load_policy
from nigt_jax.runs._standing import Standing, is_done
from nigt_jax.runs._start import read_start
from nigt_jax.runs._totals import Totals
from nigt_jax.runs._train import Summary, train
from nigt_jax.runs._trained import TrainedPolicy
from nigt_jax.runs._writing import own_writes

__all__ = [
    "Episode",
    "Standing",
    "Summary",
    "Told",
    "Totals",
    "TrainedPolicy",
    "evaluate",
    "export",
    "is_done",
    "load_policy",
    "own_writes",
    "read_start",
    "record_episode",
    "resources",
    "train",
    "train_group",
]
