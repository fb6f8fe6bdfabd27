"""Distributed policy gradient with variance reduction and gradient tracking, after Zhao, Lei, Li and Chen (2021)."""

from nigt_jax.related.svrpg_tracking._estimate import Estimate, estimate
from nigt_jax.related.svrpg_tracking._network import Agents, begin_agents, exchange
from nigt_jax.related.svrpg_tracking._system import SvrpgTracking, SvrpgTrackingState
from nigt_jax.related.svrpg_tracking._tabular import Mdp, Tabular, random_mdp
from nigt_jax.related.svrpg_tracking._task import Task
from nigt_jax.related.svrpg_tracking._weights import coefficients, density_weights

__all__ = [
    "Agents",
    "Estimate",
    "Mdp",
    "SvrpgTracking",
    "SvrpgTrackingState",
    "Tabular",
    "Task",
    "begin_agents",
    "coefficients",
    "density_weights",
    "estimate",
    "exchange",
    "random_mdp",
]
