"""Runtimes: what computes the rounds of a run. One core runs on a simulated clock, in lockstep, or on a cluster."""

from nigt_jax.runtimes._devices import claim_devices, cpu_cores, device_name, devices_of, split_cpu
from nigt_jax.runtimes._make import join_job, make_runtime
from nigt_jax.runtimes._maps import few_maps_are_left, forget_programs
from nigt_jax.runtimes._parts import make_parts, make_policy, resolved_block, sizes_of
from nigt_jax.runtimes._runtime import Hardware, Metrics, Rounds, Runtime, Staff, Stop, WorkerNews, WorkTime
from nigt_jax.runtimes._simulated import SimulatedRuntime
from nigt_jax.runtimes._spmd import Program, Spmd
from nigt_jax.runtimes.lockstep import follow, number_of_processes

__all__ = [
    "Hardware",
    "Metrics",
    "Program",
    "Rounds",
    "Runtime",
    "SimulatedRuntime",
    "Spmd",
    "Staff",
    "Stop",
    "WorkTime",
    "WorkerNews",
    "claim_devices",
    "cpu_cores",
    "device_name",
    "devices_of",
    "few_maps_are_left",
    "follow",
    "forget_programs",
    "join_job",
    "make_parts",
    "make_policy",
    "make_runtime",
    "number_of_processes",
    "resolved_block",
    "sizes_of",
    "split_cpu",
]
