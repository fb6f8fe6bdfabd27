from .clocks import malenia_round, rennala_round, synchronous_round
from .config import load_config
from .environments import check_environment
from .runs import evaluate, export, load_policy, train
from .transforms import malenia_mean, nigt, nigt_eval_params, rennala_mean

__version__: str

__all__ = [
    "check_environment",
    "evaluate",
    "export",
    "load_config",
    "load_policy",
    "malenia_mean",
    "malenia_round",
    "nigt",
    "nigt_eval_params",
    "rennala_mean",
    "rennala_round",
    "synchronous_round",
    "train",
]
