"""What this machine does in a second: from physics alone to a whole round of training."""

from nigt_jax.benchmark._measure import Report, Row, in_words, machine, measure, to_json
from nigt_jax.benchmark._profile import Profile
from nigt_jax.benchmark._stages import STAGES
from nigt_jax.benchmark._turns import take_turns

__all__ = ["STAGES", "Profile", "Report", "Row", "in_words", "machine", "measure", "take_turns", "to_json"]
