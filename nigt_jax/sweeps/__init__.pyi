from ._folder import SweepFolder, create_sweep, open_sweep
from ._programs import check_program, programs_of
from ._progress import Progress, Result
from ._run import run_sweep
from ._sweep import Run, Sweep, load_sweep

__all__ = [
    "Progress",
    "Result",
    "Run",
    "Sweep",
    "SweepFolder",
    "check_program",
    "create_sweep",
    "load_sweep",
    "open_sweep",
    "programs_of",
    "run_sweep",
]
