"""Descent-guided policy gradient on a cluster, after Yang and Liu, with MAPPO, IPPO, greedy and random beside it."""

from nigt_jax.related.dgpg.system import Dgpg, DgpgState

__all__ = ["Dgpg", "DgpgState"]
