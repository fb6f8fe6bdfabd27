"""Policy evaluation over a directed graph by nodes that never wait."""

from nigt_jax.related.async_evaluation._system import AsyncEvaluation

__all__ = ["AsyncEvaluation"]
