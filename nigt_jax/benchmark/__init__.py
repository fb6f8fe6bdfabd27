"""What this machine does in a second: from physics alone to a whole round of training, and what it is compared with."""

from nigt_jax.benchmark._figures import Measured, read_measured, stage_figures, write_measured
from nigt_jax.benchmark._machine import in_words, machine
from nigt_jax.benchmark._measure import Compiled, Report, Row, compile_stages, measure, to_json
from nigt_jax.benchmark._profile import Profile
from nigt_jax.benchmark._runs import compare_runs
from nigt_jax.benchmark._spmd import compare_spmd
from nigt_jax.benchmark._stages import PROGRAMS, STAGES, play_stages
from nigt_jax.benchmark._trainers import Trained, brax_ppo, train_by_brax, train_by_us, what_brax_misses
from nigt_jax.benchmark._transform import TRIAD, compare_transforms
from nigt_jax.benchmark._turns import take_turns
from nigt_jax.benchmark._ways import WAYS, compare_ways, runtime_of_ways

__all__ = [
    "PROGRAMS",
    "STAGES",
    "TRIAD",
    "WAYS",
    "Compiled",
    "Measured",
    "Profile",
    "Report",
    "Row",
    "Trained",
    "brax_ppo",
    "compare_runs",
    "compare_spmd",
    "compare_transforms",
    "compare_ways",
    "compile_stages",
    "in_words",
    "machine",
    "measure",
    "play_stages",
    "read_measured",
    "runtime_of_ways",
    "stage_figures",
    "take_turns",
    "to_json",
    "train_by_brax",
    "train_by_us",
    "what_brax_misses",
    "write_measured",
]
