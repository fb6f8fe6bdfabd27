"""Which runs of a sweep share a program."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from nigt_jax.clocks import make_clock
from nigt_jax.config import Config, dotted, family, to_dict, traced_settings
from nigt_jax.environments import action_space, make_environment, make_variation
from nigt_jax.methods import METHODS
from nigt_jax.runs import read_start
from nigt_jax.runtimes import SimulatedRuntime, claim_devices, make_policy, sizes_of
from nigt_jax.sweeps._plan import Plan
from nigt_jax.sweeps._sweep import Run
from nigt_jax.sweeps._twins import Clocks
from nigt_jax.training import make_attacks, number_of_parameters

# Of the host alone, so that runs may differ in them whatever their program is.
_OF_THE_HOST = ("training.iterations", "training.budget", "evaluation.every", "checkpoint.every", "checkpoint.keep")
_STRIDE = 32  # programs of more runs than this are made for a multiple of it, others for a power of two
_MOST_ELSEWHERE = {"cpu": 2**28}, 2**32  # bytes of a round's steps that runs may have together


def plan_of(runs: Sequence[Run], platform: str, least: int = 1, before: Sequence[Sequence[Run]] = ()) -> Plan:
    """How the runs of a sweep are computed.

    Args:
      runs: the runs.
      platform: JAX's name of the devices' platform: so many runs share a program that the steps of a round fit.
      least: number of groups that there should be at least, so that as many machines have something to do.
      before: programs that are there already. A program of a kind of theirs has at most as many runs; and room for as
        many, if it fills a quarter of it, so that it need not be compiled again.
    """
    twins = clocks_of_runs().twins(runs)
    computed = [run for run in runs if run.name not in twins]
    seen: dict[str, Any] = {}
    rooms: dict[str, int] = {}
    for program in before:
        kind = _kind(program[0].config, seen)
        rooms[kind] = max(rooms.get(kind, 0), _room(program, seen, platform))
    programs = programs_of(computed, platform, least, rooms)
    made_for = []
    for program in programs:
        there, own = rooms.get(_kind(program[0].config, seen), 0), _room(program, seen, platform)
        made_for.append(there if len(program) <= there <= 4 * len(program) else own)
    return Plan([[run.name for run in program] for program in programs], made_for, twins)


def platform_of(runs: Sequence[Run]) -> str:
    """JAX's name of the platform that the runs ask for."""
    return claim_devices(runs[0].config.training, lambda k: True)[0].platform


def clocks_of_runs() -> Clocks:
    """What plays the clocks of runs."""
    seen: dict[str, Any] = {}
    return Clocks(lambda config: _sizes(config, seen)[1])


def programs_of(
    runs: Sequence[Run], platform: str, least: int = 1, rooms: Mapping[str, int] | None = None
) -> list[list[Run]]:
    """The runs in groups that share a program, in the order of their first runs; arguments as of :func:`plan_of`.

    Args:
      runs: the runs.
      platform: of the devices.
      least: number of groups that there should be at least.
      rooms: the most runs of a program, for kinds that are known.
    """
    alike: dict[str, list[Run]] = {}
    seen: dict[str, Any] = {}
    for run in runs:
        alike.setdefault(_kind(run.config, seen), []).append(run)
    most_runs = max(1, -(-len(runs) // least))
    programs: list[list[Run]] = []
    for kind, group in alike.items():
        fit = min(most_runs, _most_together(group, seen, platform))
        each = min(fit, (rooms or {}).get(kind, fit))
        parts = -(-len(group) // each)
        size = -(-len(group) // parts)
        programs.extend(group[k : k + size] for k in range(0, len(group), size))
    return programs


def kind_of(runs: Sequence[Run]) -> str:
    """What decides the program of some runs, as a text; programs of one kind serve each other's runs."""
    largest = max(run.config.method.largest_batch for run in runs)
    counts_steps = any(run.config.counts_steps for run in runs)
    with jax.enable_x64(False):
        return f"{_kind(runs[0].config, {})} {largest} {counts_steps}"


def _kind(config: Config, seen: dict[str, Any]) -> str:
    """What decides the shapes of a run's program, as a text: whatever is not traced, and the kind of its workers."""
    free = {*traced_settings(config), *_OF_THE_HOST}
    settings = {
        key: value
        for key, value in dotted(to_dict(config)).items()
        if key not in free and not key.startswith("workers.")
    }
    settings["method.name"] = family(config.method.name)
    if config.method.compares == "worker":  # whose round is one block, of all that its workers play
        settings["rounds"] = (config.method.gradients_per_update, config.method.gradients_in_first_update)
    workers = repr(config.workers)
    if workers not in seen:
        clock = make_clock(config.workers, _sizes(config, seen)[1], 1)
        tree = (clock, make_variation(config.workers), make_attacks(config.workers))
        shapes = [(x.shape, str(x.dtype)) for x in jax.tree.leaves(tree)]
        seen[workers] = f"{jax.tree.structure(tree)} {shapes}"
    return f"{sorted(settings.items())} {seen[workers]}"


def _sizes(config: Config, seen: dict[str, Any]) -> tuple[int, int]:
    """Bytes of an episode's steps and first state, and number of parameters of the policy."""
    workers = config.workers
    # All of it is looked at for faults.
    key = f"{config.environment} {config.policy} {workers.environments} {workers.randomizer}"
    if key not in seen:
        environment = make_environment(config.environment)
        sizes = sizes_of(config, environment)
        policy = make_policy(config, sizes.observed, action_space(environment))
        numbers = policy.observation_size + policy.sample_size + 1
        seen[key] = (4 * numbers * config.environment.horizon + sizes.first, number_of_parameters(policy))
    return seen[key]


def _most_together(group: Sequence[Run], seen: dict[str, Any], platform: str) -> int:
    largest = max((run.config for run in group), key=lambda config: config.method.largest_batch)
    played = METHODS[largest.method.name].plays * largest.method.trajectories_per_gradient
    episodes = largest.method.largest_batch * played
    limits, elsewhere = _MOST_ELSEWHERE
    return max(1, limits.get(platform, elsewhere) // (episodes * _sizes(largest, seen)[0]))


def _room(program: Sequence[Run], seen: dict[str, Any], platform: str) -> int:
    """Number of runs that a program is made for: one of few numbers, so that other sweeps find it compiled."""
    runs = len(program)
    rounded = 2 ** (runs - 1).bit_length() if runs <= _STRIDE else -(-runs // _STRIDE) * _STRIDE
    return max(runs, min(rounded, _most_together(program, seen, platform)))


def check_program(runs: Sequence[Run]) -> None:
    """Makes the program of some runs, as far as can be done without compiling, to see that it is one."""
    configs = [
        dataclasses.replace(run.config, training=dataclasses.replace(run.config.training, lanes=1)) for run in runs
    ]
    largest = max(configs, key=lambda config: config.method.largest_batch)
    SimulatedRuntime(largest, start=read_start(largest), runs=configs if len(configs) > 1 else None)
