"""Nodes on a clock: wake-ups one after the other, many in an iteration."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.clocks import ArrivalState, Clock, begin_arrivals, make_clock, next_arrival
from nigt_jax.config.systems import AsyncEvaluationConfig
from nigt_jax.records import Record
from nigt_jax.related._system import Counted, Scalars
from nigt_jax.related._weights import make_links
from nigt_jax.related.async_evaluation._gradients import GRADIENTS, Data, Woken
from nigt_jax.related.async_evaluation._kept import sends_to_keep
from nigt_jax.related.async_evaluation._network import Network, Nodes, begin_nodes, mass_error, wake, wire
from nigt_jax.related.async_evaluation._problem import closed_form, make_samples, split_evenly

_FIT = 1e-12, 1e-1  # relative errors between which the rate is fitted: not the first steps, not what rounding leaves


class State(NamedTuple):
    """What a run is at.

    Attributes:
      arrivals: the clock of the nodes' wake-ups.
      nodes: what they have.
    """

    arrivals: ArrivalState
    nodes: Nodes


class World(NamedTuple):
    """What does not change in a run, in arrays, so that runs of the same shapes may share a program.

    Attributes:
      clock: of the nodes' wake-ups.
      network: data, links, delays and step.
    """

    clock: Clock
    network: Network


class AsyncEvaluation:
    """Policy evaluation over a directed graph by nodes that never wait; see :class:`nigt_jax.related._system.System`.

    After Sha, Zhang, You, Zhang & Basar, `Fully Asynchronous Policy Evaluation in Distributed Reinforcement Learning
    over Networks <https://arxiv.org/abs/2003.00433>`_, 2022.

    Attributes:
      world: what does not change.
      answer: the closed form [theta, w] of the problem, as a NumPy array.
      kept_sends: messages that every node keeps.

    Args:
      config: its configuration.

    Raises:
      UserError: samples that do not determine the answer; a graph in which not everything reaches everybody; delays for
        which too many messages would have to be kept; a trace that cannot be read.
    """

    x64 = True  # sums of trackers, whose differences go to zero
    headline = "error"

    def __init__(self, config: AsyncEvaluationConfig):
        self.config = config
        samples = make_samples(config.problem, config.seed)
        self.answer = closed_form(samples, config.problem.regularization)
        links = make_links(config.graph, config.workers.count)
        clock, delays = _clock(config, self.answer.size)
        first, counts = split_evenly(len(samples.reward), config.workers.count)
        owner = np.repeat(np.arange(config.workers.count, dtype=np.int32), counts)
        number = lambda x: np.asarray(x, np.float64)
        data = Data(
            samples, owner, first, counts, number(config.problem.regularization), number(config.method.dual_ratio)
        )
        self.world = World(clock, Network(data, wire(links), delays, number(config.step_size)))
        self.kept_sends = sends_to_keep(config, clock, delays, self.answer.size)
        self._local = GRADIENTS[config.method.gradient]

    def begin(self, key: PRNGKeyArray, world: World | None = None) -> State:
        """All nodes at zero, at time 0; of `world`, see :meth:`step`."""
        clock, network = _on_device(self.world if world is None else world)
        nodes = begin_nodes(network, self._local, jnp.zeros(self.answer.size), self.kept_sends)
        return State(begin_arrivals(clock, key), nodes)

    def step(self, state: State, world: World | None = None) -> tuple[State, Counted, Scalars]:
        """So many wake-ups of whichever nodes.

        Args:
          state: before.
          world: another one of the same shapes in place of the system's own.

        Returns:
          The state after, what was used, and the age of the oldest message that a node went by, infinite where that was
          not kept any more. A run of nodes that will never wake up again stands still, at an infinite time.
        """
        clock, network = _on_device(self.world if world is None else world)

        def one(state: State, _: None) -> tuple[State, tuple[Array, Array, Array]]:
            node, there, arrivals = next_arrival(clock, state.arrivals)
            woken = Woken(node, jnp.where(there, node, clock.workers))
            now = arrivals.now.high.astype(jnp.float64) + arrivals.now.low.astype(jnp.float64)
            nodes, age = wake(network, self._local, state.nodes, woken, now)
            messages = jnp.where(there, network.wiring.receivers[node], 0)
            return State(arrivals, nodes), (there.astype(jnp.int32), messages, age)

        after, (wake_ups, messages, ages) = jax.lax.scan(one, state, length=self.config.wake_ups_of_an_iteration)
        counted = _counted(after, wake_ups, messages, 2 * self.answer.size)
        return after, counted, {"staleness": jnp.max(ages)}

    def evaluate(self, state: State) -> Scalars:
        """How far nodes are from the closed form; not a number where a message that was looked for was not kept."""
        nodes, answer = state.nodes, jnp.asarray(self.answer)
        size = jnp.linalg.norm(answer)
        away = jnp.linalg.norm(nodes.x - answer[None, :], axis=1) / size
        apart = jnp.linalg.norm(nodes.x - nodes.x.mean(0)[None, :], axis=1) / size
        root_mean_square = lambda x: jnp.sqrt(jnp.mean(jnp.square(x)))
        results = {
            "error": root_mean_square(away),
            "worst_error": jnp.max(away),
            "disagreement": root_mean_square(apart),
            "mass_error": mass_error(_on_device(self.world.network), nodes),
        }
        return {key: jnp.where(nodes.lost, jnp.nan, value) for key, value in results.items()}

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """The error, the rate at which it fell, and how well the mass law holds."""
        last = records[-1]
        rate = fitted_rate(records, self.config.wake_ups_of_an_iteration)
        fell = "too few evaluations to tell" if rate is None else f"times {rate:.8f} with every wake-up"
        return [
            ("error", f"{last['error']:.3g} of the closed form's norm; worst node {last['worst_error']:.3g}"),
            ("rate", fell),
            ("mass", f"trackers miss the sum of gradients by {last['mass_error']:.1e}"),
        ]


def fitted_rate(records: Sequence[Record], wake_ups: int) -> float | None:
    """By which factor the error falls with a wake-up: a line through the logarithms; None for fewer than 3 of them."""
    low, high = _FIT
    points = [(r["iteration"], r["error"]) for r in records if low < r.get("error", 0.0) < high]
    if len(points) < 3:
        return None
    iterations, errors = np.asarray(points, np.float64).T
    return float(np.exp(np.polyfit(iterations * wake_ups, np.log(errors), 1)[0]))


def _clock(config: AsyncEvaluationConfig, numbers: int) -> tuple[Clock, Float[np.ndarray, " nodes"]]:
    """The clock of wake-ups, which wait for no message, and how long the messages of each node are under way."""
    clock = make_clock(config.workers, numbers, 1)
    return dataclasses.replace(clock, exchange=jnp.zeros_like(clock.exchange)), np.asarray(clock.exchange, np.float64)


def _on_device(tree: Any) -> Any:
    """What is NumPy's until it is traced, since its 64 bits are allowed only then."""
    return jax.tree.map(jnp.asarray, tree)


def _counted(after: State, wake_ups: Int[Array, " wakes"], messages: Int[Array, " wakes"], numbers: int) -> Counted:
    sent = jnp.sum(messages, dtype=jnp.int32)
    return Counted(
        gradients=jnp.sum(wake_ups, dtype=jnp.int32),
        env_steps=jnp.zeros([], jnp.int32),
        messages=sent,
        numbers=numbers * sent,
        time=after.arrivals.now,
    )
