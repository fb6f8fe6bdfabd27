from ._folder import PLAN, SweepFolder, create_sweep, open_sweep
from ._plan import Plan
from ._programs import check_program, plan_of, platform_of
from ._progress import Progress, Result
from ._run import run_sweep
from ._sweep import Run, Sweep, load_sweep, reported_runs
from ._tuning import Choice, curve_of

__all__ = [
    "PLAN",
    "Choice",
    "Plan",
    "Progress",
    "Result",
    "Run",
    "Sweep",
    "SweepFolder",
    "check_program",
    "create_sweep",
    "curve_of",
    "load_sweep",
    "open_sweep",
    "plan_of",
    "platform_of",
    "reported_runs",
    "run_sweep",
]
