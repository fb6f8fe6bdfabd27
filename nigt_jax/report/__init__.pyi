from ._benchmark import show_benchmark, show_stage
from ._machines import show_machines, show_part
from ._motion import Scene, write_motion
from ._report import write_report
from ._simulation import show_comparison
from ._timeline import draw_timeline

__all__ = [
    "Scene",
    "draw_timeline",
    "show_benchmark",
    "show_comparison",
    "show_machines",
    "show_part",
    "show_stage",
    "write_motion",
    "write_report",
]
