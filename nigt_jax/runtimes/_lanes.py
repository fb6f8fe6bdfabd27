"""How many episodes a device runs side by side: all of them where they are few, and otherwise as many as suit it."""

import contextlib
import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import nigt_jax
from nigt_jax.cache import cache_folder
from nigt_jax.compilation import compile_options
from nigt_jax.config import Config, to_dict
from nigt_jax.records import installed_versions, write_whole
from nigt_jax.rollout import Tasks, play_only
from nigt_jax.runtimes._devices import device_name
from nigt_jax.runtimes._spmd import Spmd
from nigt_jax.training import Parts, engine_of

_FEW = 64  # so many are run side by side without asking
# The middle one is what is taken where nothing is known (docs/performance.md).
_CANDIDATES = {"cpu": (16, 64, 256)}
_CANDIDATES_ELSEWHERE = (512, 2048, 8192)
_STEPS, _REPEATS = 32, 3
_MANY_RUNS = 8  # so many fill each other's gaps; 16 were measured (bench/README.md)


def choose_lanes(config: Config, parts: Parts, devices: list[jax.Device], keep: bool = True) -> int:
    """The number of lanes for the episodes of a block on each of the devices.

    What they do in a second with each of a few numbers of lanes is measured once, if the configuration asks for it, and
    kept in the user's cache folder: all of them together, for what a core does alone it does not do beside others.
    Where nothing was measured, a usual number is taken: to try three of them would take longer than many a run.

    Many lanes suit a device, but where every one of them has k episodes to play and these are of random length, it is
    idle for about one and a half more, when nobody waits any longer; where all are of the same length, it is not. A run
    sees both, early and late, so what counts is the speed times k / (k + 3/4).

    Args:
      config: the run's configuration; says whether to measure, whether there may be a cache, and what the environment
        is called.
      parts: the run's parts, with a lane for every episode.
      devices: all alike.
      keep: whether the environment is the one of Brax that the configuration names, so that what is measured can be
        kept: the code of any other may change unseen.
    """
    episodes = _at_once(parts)
    if episodes <= _FEW:
        return episodes
    sizes = _CANDIDATES.get(devices[0].platform, _CANDIDATES_ELSEWHERE)
    in_turn = {size: max(1, round(episodes / size)) for size in sizes}  # episodes of a lane
    numbers: dict[int, int] = {}  # of lanes, so that episodes of the same length leave none idle, and their size
    for size, each in in_turn.items():
        numbers.setdefault(-(-episodes // each), size)
    known = _Known(config, devices, keep, parts)
    measure = (
        functools.partial(steps_per_second, parts, devices=devices) if config.training.lanes == "measured" else None
    )
    useful = {
        lanes: rate / (1 + 0.75 / in_turn[size])
        for lanes, size in numbers.items()
        if (rate := known.rate(size, measure)) is not None
    }
    if len(useful) < len(numbers):
        return -(-episodes // in_turn[sizes[len(sizes) // 2]])
    return max(useful, key=useful.__getitem__)


def _at_once(parts: Parts) -> int:
    """Episodes of a block, or half as many places where gradients arrive one at a time, and of many runs.

    A block ends where a worker comes a second time, so about half of its places are empty where workers are uneven; of
    many runs together hardly ever many more are not.
    """
    (places,) = parts.num_lanes
    runs = places // (parts.episodes * parts.method.plays)
    return -(-places // 2) if engine_of(parts.method).snapshots and runs >= _MANY_RUNS else places


def steps_per_second(parts: Parts, lanes: int, devices: list[jax.Device]) -> float:
    """Steps that so many lanes of every device make in a second, idle ones included."""
    groups = lanes if _many_policies(parts) else 1

    def episodes(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key[0], lanes)
        params = jax.vmap(parts.policy.init)(keys[:groups])
        normalizer = jax.tree.map(lambda x: jnp.stack([x] * groups), parts.policy.init_normalizer())
        tasks = Tasks(keys, jnp.ones(lanes, bool), params, normalizer, None, jnp.zeros(groups))
        return play_only(parts.environment, parts.policy, tasks, _steps(parts), (lanes,), lanes_last=parts.lanes_last)[
            1
        ]

    spmd = Spmd("pmap", devices, apart=True)
    keys = spmd.place(jax.random.split(jax.random.key(0), len(devices)))
    program = spmd.compile(episodes, (keys,))
    steps = int(program(keys).sum())
    seconds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(program(keys))
        seconds.append(time.perf_counter() - started)
    return steps / min(seconds)


def _steps(parts: Parts) -> int:
    return min(_STEPS, parts.horizon)


def _many_policies(parts: Parts) -> bool:
    """Whether lanes play for several policies; one for each lane takes longer than one for all."""
    return parts.num_lanes[0] > parts.episodes or engine_of(parts.method).snapshots


@functools.cache
def _code() -> str:
    """What changes whenever that which is measured may: versions, and the code of lanes itself."""
    package = Path(nigt_jax.__file__).parent
    digest = hashlib.sha256()
    for file in [*sorted((package / "rollout").glob("*.py")), Path(__file__)]:
        digest.update(file.read_bytes())
    versions = [f"{name} {version}" for name, version in installed_versions().items()]
    return " ".join([*versions, digest.hexdigest()[:16]])


class _Known:
    """What was measured on this machine before, with the same code."""

    def __init__(self, config: Config, devices: list[jax.Device], keep: bool, parts: Parts):
        folder = cache_folder() if keep and config.training.compilation_cache else None
        self._file = None if folder is None else folder / "lanes.json"
        env, widths = to_dict(config.environment), "x".join(map(str, config.policy.hidden_sizes))
        options = " ".join(compile_options(devices[0].platform))
        machine = f"{len(devices)} x {device_name(devices[0])} {os.cpu_count()} {options}"
        policies = "each" if _many_policies(parts) else "all"
        played = f"{parts.policy.observation_size} observed, {_steps(parts)} steps"
        self._name = f"{env['name']} {env.get('backend')} {widths} for {policies}, {played} {machine} {_code()}"

    def rate(self, lanes: int, measure: Callable[[int], float] | None) -> float | None:
        """The rate of so many lanes, from the file or measured now; None where neither may be."""
        name = f"{self._name} {lanes}"
        known = self._read()
        if name not in known and measure is not None:
            known[name] = measure(lanes)
            self._write(known)
        return known.get(name)

    def _read(self) -> dict[str, float]:
        """What is there: positive rates; a file or an entry that cannot be read is as if absent."""
        kept: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if self._file is not None:
                kept = json.loads(Path(self._file).read_text(encoding="utf-8"))
        entries = kept.items() if isinstance(kept, dict) else ()
        return {name: rate for name, rate in entries if isinstance(rate, float) and 0 < rate < math.inf}

    def _write(self, known: dict[str, float]) -> None:
        with contextlib.suppress(OSError):  # it is measured again next time
            if self._file is not None:
                write_whole(self._file, json.dumps(known, indent=1) + "\n")
