from ._benchmark import show_benchmark
from ._report import write_report
from ._simulation import show_comparison
from ._timeline import draw_timeline

__all__ = ["draw_timeline", "show_benchmark", "show_comparison", "write_report"]
