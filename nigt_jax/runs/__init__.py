"""Runs: the loop around a runtime, with records, evaluations and checkpoints; and what is made of a run afterwards."""

from nigt_jax.runs._shipped import TrainedPolicy, load_policy
from nigt_jax.runs._totals import Totals
from nigt_jax.runs._train import Summary, train

__all__ = ["Summary", "Totals", "TrainedPolicy", "load_policy", "train"]
