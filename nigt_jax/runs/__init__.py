"""Runs: the loop around a runtime, with records, evaluations and checkpoints; and what is made of a run afterwards."""

from nigt_jax.runs._account import Account, Entry, Trouble
from nigt_jax.runs._again import evaluate
from nigt_jax.runs._episode import Episode, record_episode
from nigt_jax.runs._group import train_group
from nigt_jax.runs._loop import Loop, Reached, Told
from nigt_jax.runs._opening import opened
from nigt_jax.runs._resources import resources
from nigt_jax.runs._shipped import export, load_policy
from nigt_jax.runs._standing import Amounts, Standing, is_done
from nigt_jax.runs._start import read_start
from nigt_jax.runs._totals import Totals, are_counters
from nigt_jax.runs._train import Summary, train
from nigt_jax.runs._trained import TrainedPolicy
from nigt_jax.runs._writing import Writing, own_writes

__all__ = [
    "Account",
    "Amounts",
    "Entry",
    "Episode",
    "Loop",
    "Reached",
    "Standing",
    "Summary",
    "Told",
    "Totals",
    "TrainedPolicy",
    "Trouble",
    "Writing",
    "are_counters",
    "evaluate",
    "export",
    "is_done",
    "load_policy",
    "opened",
    "own_writes",
    "read_start",
    "record_episode",
    "resources",
    "train",
    "train_group",
]
