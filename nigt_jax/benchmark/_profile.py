"""A trace of a round by JAX's profiler, and what its operations were for."""

import collections
import dataclasses
import re
from pathlib import Path

import jax

from nigt_jax.runtimes import SimulatedRuntime

# Steps that a lane makes in the trace, unless it has more episodes. Each is a thousand operations or more, and the
# profiler keeps every one.
_STEPS = 64

# Scopes in the names that operations have in a program; the innermost one is what an operation is for.
_PURPOSES = ("clock", "reset", "queue", "policy", "physics", "baseline", "gradient", "statistics", "update")
_INSTRUCTION = re.compile(r'^\s*(?:ROOT )?%?(\S+) = .*? ([\w\-]+)\(.*?(?:op_name="([^"]*)"|$)')
_CONTAINERS = ("while", "conditional", "call")


@dataclasses.dataclass(frozen=True)
class Purpose:
    """What a part of a round took in the trace.

    Attributes:
      name: one of the scopes, or "other".
      seconds: time on all devices together, as traced: looking at an operation takes as long as a small one does.
      operations: likewise.
    """

    name: str
    seconds: float
    operations: int


@dataclasses.dataclass(frozen=True)
class Profile:
    """A traced round.

    Attributes:
      horizon: length at which its episodes were cut.
      computed_steps: steps that its lanes made.
      lanes: number of lanes of each device.
      purposes: longest first.
    """

    horizon: int
    computed_steps: int
    lanes: int
    purposes: list[Purpose]


def profile(like: SimulatedRuntime, folder: Path) -> Profile:
    """Traces a round like those of the run, but cut short, after one that is not traced.

    Args:
      like: the runtime whose rounds they are.
      folder: where the trace goes.
    """
    config, lanes = like.config, like.parts.num_lanes[0]
    in_turn = -(-config.episodes_per_round // (lanes * len(like.devices)))
    horizon = min(config.environment.horizon, max(1, _STEPS // in_turn))
    short = dataclasses.replace(config.environment, horizon=horizon)
    runtime = SimulatedRuntime(dataclasses.replace(config, environment=short))
    state, _ = runtime.run(runtime.initial_state(), 1)
    with jax.profiler.trace(str(folder)):
        _, metrics = runtime.run(state, 1)
    steps = int(metrics.computed_steps.sum())
    return Profile(horizon, steps, lanes, by_purpose(folder, runtime.chunk.text()))


def by_purpose(folder: Path, text: str) -> list[Purpose]:
    """Adds up the operations in a trace by what they are for.

    Args:
      folder: where the trace is; the newest, if there are several.
      text: the program that was traced, in XLA's own language.
    """
    known = _operations(text)
    seconds: dict[str, float] = collections.defaultdict(float)
    number: dict[str, int] = collections.defaultdict(int)
    newest = max(folder.rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)
    for plane in jax.profiler.ProfileData.from_file(str(newest)).planes:
        for line in plane.lines:
            for event in line.events:
                purpose = known.get(dict(event.stats).get("hlo_op", event.name))
                if purpose is not None:
                    seconds[purpose] += event.duration_ns / 1e9
                    number[purpose] += 1
    found = [Purpose(name, seconds[name], number[name]) for name in seconds]
    return sorted(found, key=lambda purpose: -purpose.seconds)


def _operations(text: str) -> dict[str, str]:
    """What each operation of a program is for, but for those that consist of others.

    What XLA has added, such as copies, has no name: it is for what most of its computation is for.
    """
    found: dict[str, str] = {}
    here: dict[str, str | None] = {}
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        if match and match[2] not in _CONTAINERS:
            scopes = [word for word in re.findall(r"\w+", match[3] or "") if word in _PURPOSES]  # "a/vmap(update)/mul"
            here[match[1]] = scopes[-1] if scopes else None
        elif line.startswith("}"):  # the end of a computation
            ((usual, _),) = collections.Counter(filter(None, here.values())).most_common(1) or [("other", 0)]
            found |= {operation: purpose or usual for operation, purpose in here.items()}
            here = {}
    return found
