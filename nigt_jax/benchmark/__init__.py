"""What this machine does in a second: from physics alone to a whole round of training."""

from nigt_jax.benchmark._measure import Report, machine, measure
from nigt_jax.benchmark._stages import STAGES
from nigt_jax.benchmark._table import show, to_json

__all__ = ["STAGES", "Report", "machine", "measure", "show", "to_json"]
