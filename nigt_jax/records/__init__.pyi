from ._checkpoint import Checkpoints
from ._create import check_output, create_run, make_whole
from ._folder import RunFolder, open_run, open_system_run, with_start, write_whole
from ._metrics import MetricsLog, Record, last_record, read_metrics, write_metrics
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
    "check_output",
    "check_sinks",
    "create_run",
    "installed_versions",
    "last_record",
    "make_whole",
    "naming_the_writer",
    "open_run",
    "open_system_run",
    "read_metrics",
    "with_start",
    "write_metrics",
    "write_whole",
    "written_now",
]
