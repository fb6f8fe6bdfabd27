"""Ray reads when it is imported that a cluster of its own is for this machine alone; these tests import it at once."""

import os

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
