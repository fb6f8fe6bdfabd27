"""What can be named in a configuration, known without importing the libraries behind it."""

# Brax 0.14's registry, less `swimmer`: its physics calls a form of jnp.clip that JAX no longer has.
# A test holds this list against the registry.
ENVIRONMENTS = (
    "ant",
    "fast",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_double_pendulum",
    "inverted_pendulum",
    "pusher",
    "reacher",
    "walker2d",
)
BACKENDS = ("spring", "positional", "generalized", "mjx")
ESTIMATORS = ("policy_gradient", "return_to_go", "leave_one_out", "gae")
METHODS = (
    "rennala_nigt",
    "malenia_nigt",
    "synchronous_nigt",
    "m_synchronous_nigt",
    "rennala_pg",
    "synchronous_pg",
    "afedpg",
    "ringmaster_nigt",
    "asynchronous_pg",
)
ARRIVAL_METHODS = METHODS[-3:]
NOISES = ("none", "exponential", "gamma", "lognormal", "pareto")
TOPOLOGIES = ("parallel-links", "shared-link", "allreduce")
