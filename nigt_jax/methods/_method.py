"""What a method is: when gradients are absorbed, what workers keep and send, and what the server does with it.

A method that only sums gradients needs no more than a schedule, weights and an update, and takes the fast way: episodes
are packed over devices whoever they belong to. A method whose workers have a state, or decide from data what they send,
names its :class:`WorkerSide` too.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.clocks import ArrivalRule, Round, Rule, YoungerThan, one_of
from nigt_jax.config import MethodConfig, amount_of
from nigt_jax.methods._table import JustArrived, MeansOfWorkers


class Progress(NamedTuple):
    """How far a run is, or should be, in every unit of :data:`nigt_jax.config.UNITS`."""

    iterations: Float[Array, ""]
    gradients: Float[Array, ""]
    env_steps: Float[Array, ""]
    simulated_time: Float[Array, ""]


class StepHyperparameters(NamedTuple):
    """Hyperparameters of an update. They are traced, so runs with other values share one program.

    Attributes:
      learning_rate: length of the step at the start; of one update, once :meth:`at` has said which.
      half_life: how far a run is when steps are half as long; inf in the units that do not matter.
      newest_weight: weight of the newest gradient, 1 - momentum. float32 cannot tell a momentum near 1 from 1.
      transport_weight: the weight by which query points lie ahead of the iterate: that of the newest gradient, or 1
        where they are the iterate itself.
      max_delay: delay in updates from which on a gradient that arrives is discarded.
    """

    learning_rate: Float[Array, ""]
    half_life: Progress
    newest_weight: Float[Array, ""]
    transport_weight: Float[Array, ""]
    max_delay: Int[Array, ""]

    def at(self, now: Progress) -> "StepHyperparameters":
        r"""Those of the update of a run that is so far: :math:`\alpha / (1 + t / h)`; N-PG-IGT has a half-life of 2."""
        decay = sum((t / h for t, h in zip(now, self.half_life, strict=True)), start=jnp.zeros([]))
        return self._replace(learning_rate=self.learning_rate / (1 + decay))


class Rounds(NamedTuple):
    """Schedule: a round collects gradients of one query point until its rule is met.

    Attributes:
      rule: maps (batch size, workers) to the condition that ends a round.
      weigh: maps a round to the weight of each worker's counted gradients, shape [workers]; only ratios matter.
      most_per_worker: maps (batch size, workers) to the most gradients that one worker can have counted; None where
        there is no limit.
    """

    rule: Callable[[Int[Array, ""], int], Rule]
    weigh: Callable[[Round], Float[Array, " workers"]]
    most_per_worker: Callable[[int, int], int] | None

    def number_of(self, name: str) -> int:
        """Number of a method's schedule among these: the only one."""
        del name
        return 0

    def at(self, number: Int[Array, ""]) -> "Rounds":
        """The schedule of a number: the only one."""
        del number
        return self


class OneOfRounds(NamedTuple):
    """The schedules of methods that share a program. Which one a run has is traced.

    Attributes:
      by_name: the schedules of the methods.
    """

    by_name: Mapping[str, Rounds]

    def number_of(self, name: str) -> int:
        """Number of a method's schedule among these."""
        return list(self.by_name).index(name)

    def at(self, number: Int[Array, ""]) -> Rounds:
        """The schedule of a number."""
        several = list(self.by_name.values())

        def rule(batch_size: Int[Array, ""], workers: int) -> Rule:
            return one_of(number, tuple(one.rule(batch_size, workers) for one in several))

        return Rounds(rule, lambda counted: jax.lax.select_n(number, *(one.weigh(counted) for one in several)), None)


def by_delay(hyperparameters: StepHyperparameters) -> ArrivalRule:
    """Every gradient makes an update, unless it is too old."""
    return YoungerThan(hyperparameters.max_delay)


class Arrivals(NamedTuple):
    """Schedule: every gradient is absorbed when it arrives, or discarded for its delay.

    Each worker computes at the query point that it was sent when its last gradient arrived, however old that is.

    Attributes:
      rule: maps the method's hyperparameters to what becomes of a gradient that arrives.
      table: what an update is made of.
    """

    rule: Callable[[Any], ArrivalRule] = by_delay
    table: JustArrived | MeansOfWorkers = JustArrived()

    def number_of(self, name: str) -> int:
        """Number of a method's schedule among these: the only one."""
        del name
        return 0


class Contributions(NamedTuple):
    """What workers send to the server in one exchange.

    Attributes:
      message: what each worker has to send, a tree whose leaves have a leading axis of workers.
      uploads: whether a worker sends it. The server adds up what is sent; a silent worker costs no upload.
    """

    message: Any
    uploads: Bool[Array, " workers"]


Contribute = Callable[[Any, Any, Any, Any], tuple[Contributions, Any]]
"""(workers' states, their work units, what the server told them, hyperparameters) to contributions and new states."""


Beside = Callable[[Any, Any, Any], dict[str, Any]]
"""(workers' units, the mean of their last messages, hyperparameters) to what else each has to send, by name."""


class WorkerSide(NamedTuple):
    """What a worker keeps from round to round, and what it sends.

    Attributes:
      init: maps (parameters, hyperparameters) to one worker's state before the first round.
      told: maps the server's state, a :class:`ServerState`, to what workers have to know of it beside the parameters.
      exchanges: maps the hyperparameters to the steps of a round in order, one for every exchange with the server. The
        first is told `told`; every later one the mean of the messages of the step before it. The last one's mean goes
        to the update.
      known: maps (workers' states, what they were told, messages, whether each was uploaded, hyperparameters) to the
        states after, with a leading axis of workers: the server can follow them, and tell a worker that is new where it
        stands.
      beside: maps the hyperparameters to what workers send once they know the mean of their last messages; None where
        they send nothing more. The update gets the means over workers by name. All workers send it, and it takes no
        time: what it carries is in :meth:`nigt_jax.config.MethodConfig.numbers_up`.
    """

    init: Callable[[Any, Any], Any]
    told: Callable[[Any], Any]
    exchanges: Callable[[Any], tuple[Contribute, ...]]
    known: Callable[[Any, Any, Any, Bool[Array, " workers"], Any], Any]
    beside: Callable[[Any], Beside | None] = lambda hyperparameters: None


class ServerPlan(NamedTuple):
    """The server's own steps of a round, of one run or of many.

    Attributes:
      steps: how many, at most.
      episodes: that it plays for each of them, at the parameters that it has reached.
      episode_time: simulated time of one of them.
      drift: the steps end where the mean importance weight of a step's episodes is farther than this from 1.
    """

    steps: Int[Array, "*runs"]
    episodes: Int[Array, "*runs"]
    episode_time: Float[Array, "*runs"]
    drift: Float[Array, "*runs"]


class ServerSide(NamedTuple):
    """What a server does with episodes of its own, once it has heard the workers.

    Attributes:
      plan: maps (hyperparameters, key, episodes of a worker) to the steps of a round.
      direction: maps (gradient at the parameters reached; the importance-weighted one at those that workers were sent,
        of the same episodes; what the messages combine to) to the direction that a step goes along.
    """

    plan: Callable[[Any, PRNGKeyArray, Int[Array, ""]], ServerPlan]
    direction: Callable[[Any, Any, Any], Any]


def aggregated(opt_state: Any, aggregate: Any) -> Any:
    """The direction that the server has absorbed, where that is the aggregate itself."""
    del opt_state
    return aggregate


def as_sent(opt_state: Any, sent: Any) -> Any:
    """The model of an update without extrapolation: the parameters that workers are sent."""
    del opt_state
    return sent


class Method(NamedTuple):
    """One method.

    Attributes:
      schedule: when gradients are absorbed.
      hyperparameters: maps the method's section of the configuration to traced hyperparameters.
      update: maps hyperparameters to the transformation that steps the parameters that workers are sent.
      model: maps (state of the update, parameters sent) to the iterate.
      worker: what workers keep and send; None where they send sums of gradients and keep nothing.
      direction: maps (state of the update, aggregate) to the direction whose norm is reported.
      last_step: maps the state of the update to the last step of the parameters; None where nobody needs it. With it, a
        round plays as many episodes again, at a point of that step, and the update gets ``change``: how the gradient
        has changed along it, an estimate without bias.
      combine: maps (hyperparameters, name of an axis of workers) to the transformation that combines their messages;
        None where these are added up.
      adapts: whether M follows what rounds show; hyperparameters are then
        :class:`nigt_jax.methods.AdaptiveHyperparameters`.
      server: what the server does with episodes of its own; None where it plays none, and makes one step a round.
    """

    schedule: Rounds | OneOfRounds | Arrivals
    hyperparameters: Callable[[MethodConfig], Any]
    update: Callable[[Any], optax.GradientTransformationExtraArgs]
    model: Callable[[optax.OptState, Any], Any]
    worker: WorkerSide | None = None
    direction: Callable[[optax.OptState, Any], Any] = aggregated
    last_step: Callable[[optax.OptState], Any] | None = None
    combine: Callable[[Any, Any], optax.GradientTransformationExtraArgs] | None = None
    adapts: bool = False
    server: ServerSide | None = None

    @property
    def plays(self) -> int:
        """Episodes that are played for every one of a gradient; a gradient takes a worker as many times as long."""
        return 1 if self.last_step is None else 2

    @property
    def rounds(self) -> Rounds | None:
        """The schedule of a single method that collects gradients in rounds; None of any other."""
        return self.schedule if isinstance(self.schedule, Rounds) else None

    @property
    def kind(self) -> Literal["summed", "workers", "arrivals"]:
        """How the method's rounds are computed: by sums, worker by worker, or arrival by arrival."""
        if isinstance(self.schedule, Arrivals):
            return "arrivals"
        return "summed" if self.worker is None else "workers"


def step_hyperparameters(section: MethodConfig, max_delay: int = jnp.iinfo(jnp.int32).max) -> StepHyperparameters:
    """The hyperparameters of an update that a section of the configuration has.

    Args:
      section: the method's section.
      max_delay: delay in updates from which on gradients are discarded; by default none is.
    """
    return StepHyperparameters(
        learning_rate=jnp.asarray(section.learning_rate, jnp.float32),
        half_life=_half_life(section.learning_rate_half_life),
        newest_weight=jnp.asarray(section.newest_weight, jnp.float32),  # the difference was taken in float64
        transport_weight=jnp.asarray(section.transport_weight, jnp.float32),
        max_delay=jnp.asarray(max_delay, jnp.int32),
    )


def _half_life(given: float | str | None) -> Progress:
    amount = None if given is None else amount_of(given)
    inf = jnp.asarray(jnp.inf, jnp.float32)
    never = Progress(inf, inf, inf, inf)
    return never if amount is None else never._replace(**{amount.unit: jnp.asarray(amount.number, jnp.float32)})
