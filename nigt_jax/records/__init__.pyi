from ._checkpoint import Checkpoints
from ._code import code_of, mark_code, refuse_strange_code
from ._create import check_output, create_run, make_whole
from ._folder import RunFolder, open_run, open_system_run, with_start
from ._metrics import MetricsLog, Record, check_numbers, last_record, read_metrics, write_metrics
from ._provenance import (
    Change,
    EnvironmentRecord,
    Provenance,
    Resources,
    Shared,
    Trace,
    Written,
    installed_versions,
    naming_the_writer,
    written_now,
)
from ._sinks import Sink, Sinks, check_sinks
from ._whole import write_whole

__all__ = [
    "Change",
    "Checkpoints",
    "EnvironmentRecord",
    "MetricsLog",
    "Provenance",
    "Record",
    "Resources",
    "RunFolder",
    "Shared",
    "Sink",
    "Sinks",
    "Trace",
    "Written",
    "check_numbers",
    "check_output",
    "check_sinks",
    "code_of",
    "create_run",
    "installed_versions",
    "last_record",
    "make_whole",
    "mark_code",
    "naming_the_writer",
    "open_run",
    "open_system_run",
    "read_metrics",
    "refuse_strange_code",
    "with_start",
    "write_metrics",
    "write_whole",
    "written_now",
]
