"""The loop: compiled rounds on the devices, and the host around them."""

from nigt_jax.training._loop import Summary, Totals, train
from nigt_jax.training._shipped import TrainedPolicy, load_policy
from nigt_jax.training._trainer import Trainer

__all__ = ["Summary", "Totals", "TrainedPolicy", "Trainer", "load_policy", "train"]
